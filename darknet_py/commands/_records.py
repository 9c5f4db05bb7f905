"""Detections as JSON and CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from ..errors import DataError
from ..files import OutputError, atomic_write

if TYPE_CHECKING:
    from ..results.results import Results

_JSON_ERRORS = "backslashreplace"  # of a file name that is not UTF-8: \udcfc is an escape of JSON too


class JsonFile:
    """A JSON file that is opened at the start of a block and written at its end, whether or not the block raises.

    Args:
        path: the file; ``-``: stdout; None: nothing is written.
        content: the object to write; it is filled inside the block.

    Raises:
        DataError: the file cannot be written, raised at the start if possible.
    """

    def __init__(self, path: str | None, content: object) -> None:
        self._path = path
        self._content = content
        self._resources = ExitStack()
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        if self._path == "-":
            self._file = sys.stdout
        elif self._path:
            file = atomic_write(self._path, "w", encoding="utf-8", errors=_JSON_ERRORS)
            self._file = self._resources.enter_context(file)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is None:
            return
        with suppress(OutputError), self._resources:
            if isinstance(error, OutputError):
                raise error  # leaves what is at the path
            self._file.write(_to_json(self._content, self._file, indent=1) + "\n")


class JsonLines:
    """A file with one line of JSON per image or frame; a context manager.

    Lines are appended to the file itself, so it can be followed while it grows, and is valid whenever the run stops.

    Args:
        path: the file; ``-``: stdout; None: nothing is written.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        if self._path and self._path != "-":
            try:
                self._file = open(self._path, "w", encoding="utf-8", errors=_JSON_ERRORS)
            except OSError as error:
                raise DataError(f"{self._path}: {error.strerror or error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            with suppress(OSError):  # a full disk, which a write has reported
                self._file.close()

    def write(self, content: dict[str, Any]) -> None:
        """Write one line."""
        if not self._path:
            return
        file = self._file or sys.stdout
        try:
            file.write(_to_json(content, file) + "\n")
            file.flush()
        except OSError as error:
            if file is sys.stdout:
                raise
            raise DataError(f"{self._path}: {error.strerror or error}") from error


class CsvRows:
    """A CSV file with a row per box; a context manager. Rows are written image by image.

    Args:
        path: the file; ``-``: stdout; None: nothing is written.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        if self._path == "-":
            self._file = sys.stdout
        elif self._path:
            try:
                self._file = open(self._path, "w", encoding="utf-8", errors=_JSON_ERRORS, newline="")
            except OSError as error:
                raise DataError(f"{self._path}: {error.strerror or error}") from error
        self._write(("path", "class", "name", "confidence", "x1", "y1", "x2", "y2"))
        return self

    def __exit__(self, *_: object) -> None:
        if self._file and self._file is not sys.stdout:
            self._file.close()

    def write(self, result: Results) -> None:
        """Write the rows of an image."""
        for row in result.summary():
            self._write((result.path, row["class"], row["name"], row["confidence"], *row["box"].values()))

    def _write(self, row: Sequence[object]) -> None:
        if self._file:
            csv.writer(self._file, lineterminator="\n").writerow(row)
            self._file.flush()


def result_dict(result: Results, **position: Any) -> dict[str, Any]:
    """Return the detections of an image as plain values; ``position``: index and timestamp of a frame."""
    height, width = result.orig_shape
    return {"path": result.path, **position, "width": width, "height": height, "boxes": result.summary()}


def write_json(path: str, content: object) -> None:
    """Write JSON to a file, or to stdout if ``path`` is ``-``. Raises DataError."""
    with JsonFile(path, content):
        pass


def _to_json(content: object, file: IO[str], indent: int | None = None) -> str:
    """JSON as a stream can write it: letters as they are in UTF-8, escaped in other encodings."""
    is_utf8 = (getattr(file, "encoding", None) or "").lower().replace("-", "") == "utf8"
    return json.dumps(content, ensure_ascii=not is_utf8, indent=indent)
