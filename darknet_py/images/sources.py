"""Expand image sources (files, folders, patterns, lists, samples of the catalogue) to paths."""

from __future__ import annotations

import glob
import pathlib
from collections.abc import Iterable

from ..errors import DataError
from ..hub import catalogue
from ..text_files import read_list

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_SAMPLE_PREFIX = "sample:"


def expand_sources(sources: Iterable[str]) -> list[str]:
    """Expand sources to paths of images.

    Args:
        sources: each an image; a folder (its images, without subfolders, sorted); a pattern such as
            ``photos/*.jpg`` (its matches, sorted); a ``.txt`` list, a path per line, see ``text_files.PathFinder``; or
            an image of the catalogue (``sample:bus``).

    Returns:
        The paths, in the order of ``sources``.

    Raises:
        DataError: a source does not exist or has no images.
    """
    return [path for source in sources for path in _expand_one(source)]


def _expand_one(source: str) -> list[str]:
    if source.startswith(_SAMPLE_PREFIX):
        return [str(catalogue.fetch(source))]
    path = pathlib.Path(source)
    if path.is_dir():
        images = sorted(str(entry) for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES)
        if not images:
            raise DataError(f"{source}: no images in this folder (looked for {' '.join(IMAGE_SUFFIXES)})")
        return images
    if path.suffix == ".txt" and path.is_file():
        listed = read_list(source)
        if not listed:
            raise DataError(f"{source}: an empty list: expected the path of an image on each line")
        return listed
    if path.exists():
        return [source]
    is_pattern = glob.has_magic(source)
    matches = sorted(glob.glob(source, recursive=True)) if is_pattern else []
    if not matches:
        raise DataError(f"{source}: {'nothing matches' if is_pattern else 'no such file or folder'}")
    return matches
