"""Find the images that an annotation file names."""

from __future__ import annotations

import os
import pathlib

from .._typing import StrPath
from ..text_files import PathFinder


class ImageFinder:
    """Finds the images of an annotation file, first in the folder where the last one was.

    They are searched in the folder of the file and its parent, and there in ``images``, in the folder of the subset
    that the file's name ends with (``instances_val2017.json``: ``val2017/``, ``images/val2017/``), and as
    ``text_files.PathFinder`` does.

    Args:
        path: the annotation file.
    """

    def __init__(self, path: StrPath) -> None:
        file = pathlib.Path(path)
        subset = file.stem.split("_", 1)[-1]
        roots = (file.parent, file.parent.parent)
        self._folders = [root / inner for root in roots for inner in ("", subset, "images", f"images/{subset}")]
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
        """Return the path of an image; that in the file's folder if there is none."""
        return self.find(name) or str(self._folders[0] / name)
