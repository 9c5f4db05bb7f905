"""Expand image sources (files, folders, patterns, lists, samples of the catalogue) to paths."""

from __future__ import annotations

import glob
import itertools
import os
import pathlib
from collections.abc import Iterable

from ..errors import DataError
from ..hub import catalogue
from ..messages import get_logger
from ..text_files import IMAGE_SUFFIXES, read_list
from .stdin import STDIN
from .urls import is_http, local_path

# Files that lie beside the images of a data set.
_COMPANION_SUFFIXES = (".cfg", ".csv", ".data", ".json", ".md", ".names", ".txt", ".weights", ".xml", ".yaml", ".yml")
_log = get_logger(__name__)
_SAMPLE_PREFIX = "sample:"
_LIST_SUFFIXES = (".txt", ".list")


def is_image_name(path: pathlib.PurePath) -> bool:
    """Whether a file name has the suffix of an image and does not begin with a dot."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def expand_sources(sources: Iterable[str]) -> list[str]:
    """Expand sources to paths of images.

    Args:
        sources: each an image, its HTTP URL, or ``-`` for an image from stdin; a folder (its images, without subfolders
            and names that begin with a dot, sorted; other files are counted in a warning); a pattern such as
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
    if is_http(source):
        return [source]
    if source == "-":
        return [STDIN]
    source = local_path(source)
    path = pathlib.Path(source)
    if os.path.isdir(path):
        return _list_folder(path)
    if path.suffix.lower() in _LIST_SUFFIXES and os.path.isfile(path):
        listed = read_list(source)
        if not listed:
            raise DataError(f"{source}: an empty list: expected the path of an image on each line")
        return listed
    if os.path.exists(path):
        return [source]
    is_pattern = glob.has_magic(source)
    matches = sorted(glob.glob(source, recursive=True)) if is_pattern else []
    if not matches:
        raise DataError(f"{source}: {'nothing matches' if is_pattern else 'no such file or folder'}")
    return matches


def _list_folder(folder: pathlib.Path) -> list[str]:
    """The images of a folder. Files that are neither images nor belong to a data set are counted."""
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    images = sorted(str(entry) for entry in entries if is_image_name(entry))
    if not images:
        raise DataError(f"{folder}: no images in this folder (looked for {' '.join(IMAGE_SUFFIXES)})")
    known = (*IMAGE_SUFFIXES, *_COMPANION_SUFFIXES)
    others = [entry for entry in entries if entry.suffix.lower() not in known and entry.is_file()]
    if others:
        suffixes = " ".join(sorted({entry.suffix.lower() or entry.name for entry in others}))
        _log.warning("%s: %d files left out, which are not read as images: %s", folder, len(others), suffixes)
    return images


def unique_stem(stem: str, taken: set[str]) -> str:
    """Return a stem that is not in ``taken``, with a number if need be (``a``, ``a_2``), and add it to ``taken``."""
    numbered = (f"{stem}_{number}" for number in itertools.count(2))
    unique = next(candidate for candidate in itertools.chain([stem], numbered) if candidate not in taken)
    taken.add(unique)
    return unique
