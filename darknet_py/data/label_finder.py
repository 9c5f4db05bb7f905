"""Find the label files of long lists of images."""

from __future__ import annotations

import os
import stat
from collections import Counter
from contextlib import suppress

from .labels import BLANKS, SUFFIXES, candidate_label_paths

_SEARCHED_AFTER = 100  # label files that are missing in a folder


class LabelFinder:
    """Finds the label files of many images.

    What the images of a folder have in common is computed once, and a folder where label files are missing is searched
    for any, once.
    """

    def __init__(self) -> None:
        self._starts: dict[str, list[str]] = {}  # by the folder of images, the beginnings of the paths to try
        self._missing: Counter[str] = Counter()  # label files by beginning
        self._empty: set[str] = set()  # beginnings with which no label file exists

    def find(self, image: str) -> tuple[str, os.stat_result] | None:
        """Return the path and the state of an image's label file, or None."""
        end = max(image.rfind("/"), image.rfind("\\")) + 1
        stem = image[end:].rpartition(".")[0]
        if not stem.strip(".") or image[0] in BLANKS or image[-1] in BLANKS:  # names that Darknet splits otherwise
            return next(filter(None, map(self._stat, candidate_label_paths(image))), None)
        folder = image[:end]
        if folder not in self._starts:
            paths = candidate_label_paths(f"{folder}x.jpg")
            self._starts[folder] = [path[: -len("x.txt")] for path in paths if path.endswith("x.txt")]
        for suffix in SUFFIXES:
            for start in self._starts[folder]:
                if start not in self._empty:
                    if (found := self._stat(start + stem + suffix)) is not None:
                        return found
                    self._count(start)
        return None

    def _stat(self, path: str) -> tuple[str, os.stat_result] | None:
        try:
            state = os.stat(path)
        except (OSError, ValueError):
            return None
        return (path, state) if stat.S_ISREG(state.st_mode) else None

    def _count(self, start: str) -> None:
        """Count a missing label file; after many of them see whether there is any."""
        self._missing[start] += 1
        if self._missing[start] == _SEARCHED_AFTER:
            with suppress(OSError):
                if not any(name.lower().endswith(SUFFIXES[0]) for name in os.listdir(start or os.curdir)):
                    self._empty.add(start)
