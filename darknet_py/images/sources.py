"""What a user names to be looked at, to images: files, folders, patterns and lists."""

from __future__ import annotations

import glob
import pathlib
from collections.abc import Iterable

from ..errors import DataError
from ..hub import catalogue

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_SAMPLE = "sample:"


def expand(names: Iterable[str]) -> list[str]:
    """Paths of images in the order of ``names``, a folder's and a pattern's sorted.

    A name is an image, a folder (its images, not those of folders in it), a pattern such as
    ``photos/*.jpg``, or a ``.txt`` list of images, one a line as Darknet has them, relative to the
    working directory or else to the list, or an image of the catalogue (``sample:bus``), which is
    fetched. Raises DataError where a name gives nothing.
    """
    found: list[str] = []
    for name in names:
        found += _one(name)
    return found


def _one(name: str) -> list[str]:
    if name.startswith(_SAMPLE):
        return [str(catalogue.fetch(name))]
    path = pathlib.Path(name)
    if path.is_dir():
        images = sorted(str(entry) for entry in path.iterdir() if entry.suffix.lower() in IMAGES)
        if not images:
            raise DataError(f"{name}: no images in this folder (looked for {' '.join(IMAGES)})")
        return images
    if path.suffix == ".txt" and path.is_file():
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        if not any(lines):
            raise DataError(f"{name}: an empty list: expected the path of an image on each line")
        return [_listed(line, path.parent) for line in lines if line]
    if path.exists():
        return [name]
    matches = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else []
    if not matches:
        kind = "nothing matches" if glob.has_magic(name) else "no such file or folder"
        raise DataError(f"{name}: {kind}")
    return matches


def _listed(line: str, folder: pathlib.Path) -> str:
    beside = folder / line
    return str(beside) if not pathlib.Path(line).exists() and beside.exists() else line
