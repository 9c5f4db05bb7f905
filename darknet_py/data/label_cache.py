"""The labels of a long list of images in one file of the cache, so that a second start does not read them again.

A label file is read again if its path, its size or its time of modification is another one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..files import atomic_write
from ..hub import catalogue
from .labels import LabelOptions, Problem, TargetArray, empty_targets

MIN_IMAGES = 1000  # of a list whose labels are cached: fewer are read within a second
_VERSION = 2  # of the file's content, and of what is read from a label file
_MAX_FILES = 32  # in the cache; older ones are removed
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile)


class CachedLabels(NamedTuple):
    """What was read from a label file, and its state then.

    Attributes:
        path: the label file.
        size: its size in bytes.
        time: its time of modification in nanoseconds.
        targets: float32 [n, 5].
        problems: what is wrong in it.
    """

    path: str
    size: int
    time: int
    targets: TargetArray
    problems: tuple[Problem, ...]


class _Stored(NamedTuple):
    """The content of the file: for each label file its size, time and rows of ``targets``, and the problems of some."""

    files: dict[str, tuple[int, int, int, int]]
    targets: TargetArray
    problems: dict[str, tuple[Problem, ...]]


class LabelCache:
    """The cached labels of a list of images.

    Args:
        images: paths of the images.
        options: how label files are read.
    """

    def __init__(self, images: Sequence[str], options: LabelOptions) -> None:
        self._stored = _Stored({}, empty_targets(), {})
        self._file: pathlib.Path | None = None
        if len(images) < MIN_IMAGES:
            return
        key = hashlib.sha256(f"{_VERSION}\0{os.getcwd()}\0{options.classes}\0{options.polygons}\0".encode())
        key.update(os.fsencode("\0".join(images)))
        self._file = catalogue.cache_folder() / "labels" / f"{key.hexdigest()[:32]}.npz"
        with contextlib.suppress(*_DAMAGED):
            self._stored = _read(self._file)

    def find(self, path: str, stat: os.stat_result) -> CachedLabels | None:
        """Return what was read from a label file, if it has not changed."""
        entry = self._stored.files.get(path)
        if entry is None or entry[:2] != (stat.st_size, stat.st_mtime_ns):
            return None
        size, time, start, end = entry
        return CachedLabels(path, size, time, self._stored.targets[start:end], self._stored.problems.get(path, ()))

    def save(self, entries: Sequence[CachedLabels]) -> None:
        """Write entries; a cache that cannot be written is not an error."""
        if self._file is None:
            return
        with contextlib.suppress(OSError, DataError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            arrays: dict[str, Any] = _to_arrays(entries)
            with atomic_write(self._file) as file:
                np.savez(file, **arrays)
            files = sorted(self._file.parent.glob("*.npz"), key=lambda path: path.stat().st_mtime)
            for path in files[:-_MAX_FILES]:
                path.unlink(missing_ok=True)


def _to_arrays(entries: Sequence[CachedLabels]) -> dict[str, npt.NDArray[Any]]:
    paths = b"\0".join(os.fsencode(entry.path) for entry in entries)
    problems = [
        (index, problem.location, problem.message, problem.kind)
        for index, entry in enumerate(entries)
        for problem in entry.problems
    ]
    return {
        "paths": np.frombuffer(paths, np.uint8),
        "states": np.array([(entry.size, entry.time, len(entry.targets)) for entry in entries], np.int64),
        "targets": np.concatenate([entry.targets for entry in entries]) if entries else np.zeros((0, 5), np.float32),
        "problems": np.frombuffer(json.dumps(problems).encode(), np.uint8),
    }


def _read(path: pathlib.Path) -> _Stored:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        paths = os.fsdecode(arrays["paths"].tobytes()).split("\0")
        sizes, times, counts = arrays["states"].T
        targets = np.asarray(arrays["targets"], np.float32).reshape(-1, 5)
        ends = counts.cumsum()
        if len(paths) != len(counts) or counts.min() < 0 or ends[-1] != len(targets):
            raise ValueError("other targets than the label files have")
        problems: dict[str, tuple[Problem, ...]] = {}
        for index, *texts in json.loads(arrays["problems"].tobytes()):
            problems[paths[index]] = (*problems.get(paths[index], ()), Problem(*texts))
    states = zip(sizes.tolist(), times.tolist(), (ends - counts).tolist(), ends.tolist(), strict=True)
    return _Stored(dict(zip(paths, states, strict=True)), targets, problems)
