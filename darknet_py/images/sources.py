"""Expand image sources (files, folders, patterns, lists, samples of the catalogue) to paths."""

from __future__ import annotations

import glob
import pathlib
from collections.abc import Iterable

from ..errors import DataError
from ..hub import catalogue
from ..text_files import read_list
from .urls import is_http

IMAGE_SUFFIXES = (
    *(".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".npy", ".pbm"),
    *(".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp"),
)
_SAMPLE_PREFIX = "sample:"


def is_image_name(path: pathlib.PurePath) -> bool:
    """Whether a file name has the suffix of an image and does not begin with a dot."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def expand_sources(sources: Iterable[str]) -> list[str]:
    """Expand sources to paths of images.

    Args:
        sources: each an image or its HTTP URL; a folder (its images, without subfolders and names that begin with a
            dot, sorted); a pattern such as ``photos/*.jpg`` (its matches, sorted); a ``.txt`` list, a path per line,
            see ``text_files.PathFinder``; or an image of the catalogue (``sample:bus``).

    Returns:
        The paths, in the order of ``sources``.

    Raises:
        DataError: a source does not exist or has no images.
    """
    return [path for source in sources for path in _expand_one(source)]


def _expand_one(source: str) -> list[str]:
    if source.startswith(_SAMPLE_PREFIX):
        return [str(catalogue.fetch(source))]
    if is_http(source):
        return [source]
    path = pathlib.Path(source)
    if path.is_dir():
        images = sorted(str(entry) for entry in path.iterdir() if is_image_name(entry))
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
