"""Find the images that an annotation file names."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from .._typing import StrPath
from ..images.inspection import read_size
from ..images.urls import is_http
from ..text_files import PathFinder


class ImageFinder:
    """Finds the images of an annotation file, first in the folder where the last one was.

    They are searched in the folder of the file and its parent, and there in ``images``, in the folder of the subset
    that the file's name ends with (``instances_val2017.json``: ``val2017/``, ``images/val2017/``), in FiftyOne's
    ``data``, and as ``text_files.PathFinder`` does.

    Args:
        path: the annotation file.
    """

    def __init__(self, path: StrPath) -> None:
        file = pathlib.Path(path)
        subset = file.stem.split("_", 1)[-1]
        roots = (file.parent, file.parent.parent)
        self._folders = [root / inner for root in roots for inner in ("", subset, "images", f"images/{subset}", "data")]
        self._last = self._folders[0]
        self._finder = PathFinder(path)

    def find(self, name: str) -> str | None:
        """Return the path of an image, or None if there is none."""
        for path in dict.fromkeys((name, name.replace("\\", "/"))):
            for folder in (self._last, *self._folders):
                if os.path.isfile(folder / path):
                    self._last = folder
                    return str(folder / path)
        return self._finder.find(name)

    def expect(self, name: str) -> str:
        """Return the path of an image; if there is none, its URL, or the path in the file's folder."""
        return self.find(name) or (name if is_http(name) else str(self._folders[0] / name))


class AnnotatedFile:
    """An image of an annotation file.

    Args:
        path: the image.
        entry: what the annotation file says of it.
    """

    def __init__(self, path: str, entry: Mapping[str, Any]) -> None:
        self.path = path
        self._entry = entry

    @functools.cached_property
    def size(self) -> tuple[float, float]:
        """Width and height in pixels, as the annotation file says, or else the image. Raises DataError, ValueError."""
        width, height = (float(self._entry.get(side) or 0) for side in ("width", "height"))
        return (width, height) if min(width, height) > 0 else read_size(self.path)
