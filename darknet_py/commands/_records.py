"""Detections as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
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


class _TextOutput:
    """A text file that is written piece by piece, and can be followed while it grows; a context manager.

    Args:
        path: the file; ``-``: stdout; None: nothing is written.

    Raises:
        DataError: the file cannot be opened or written.
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
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file and self._file is not sys.stdout:
            with suppress(OSError):  # a full disk, which a write has reported
                self._file.close()

    def _write(self, text: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            if self._file is sys.stdout:
                raise
            raise DataError(f"{self._path}: {error.strerror or error}") from error


class JsonLines(_TextOutput):
    """A file with one line of JSON per image or frame, which is valid whenever the run stops."""

    def write(self, content: dict[str, Any]) -> None:
        """Write one line."""
        if self._file:
            self._write(_to_json(content, self._file) + "\n")


class DarknetJsonArray(_TextOutput):
    """The file of ``-json_file_output``, which is written frame by frame, and is valid after the block in any case."""

    def __init__(self, path: str | None) -> None:
        super().__init__(path)
        self._is_empty = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._write("[\n]\n" if self._is_empty else "\n]\n")
        except DataError:
            if error is None:
                raise
        finally:
            super().__exit__(kind, error, at)

    def append(self, content: dict[str, Any]) -> None:
        """Write one element, see ``results.formats.to_darknet_json``."""
        from ..results.formats import format_darknet_json

        if self._file:
            element = format_darknet_json(content, ascii_only=not _is_utf8(self._file))
            self._write(("[\n" if self._is_empty else ", \n") + element)
            self._is_empty = False


class CsvRows(_TextOutput):
    """A CSV file with a row per box, written image by image.

    Args:
        path: the file; ``-``: stdout; None: nothing is written.
        frames: add the index and the timestamp of a frame.
        tracks: add the number of the track.
    """

    def __init__(self, path: str | None, *, frames: bool = False, tracks: bool = False) -> None:
        super().__init__(path)
        self._frames = ("index", "timestamp") if frames else ()
        self._tracks = ("track_id",) if tracks else ()

    def __enter__(self) -> Self:
        super().__enter__()
        with ExitStack() as opened:
            opened.push(self)
            columns = ("class", "name", "confidence", "x1", "y1", "x2", "y2")
            self._write_rows([("path", *self._frames, *columns, *self._tracks)])
            opened.pop_all()
        return self

    def write(self, result: Results, **position: Any) -> None:
        """Write the rows of an image; ``position``: index and timestamp of a frame."""
        if self._file:
            place = (result.path, *(position.get(name, "") for name in self._frames))
            self._write_rows(
                (
                    *place,
                    row["class"],
                    row["name"],
                    row["confidence"],
                    *row["box"].values(),
                    *(row[name] for name in self._tracks),
                )
                for row in result.summary()
            )

    def _write_rows(self, rows: Iterable[Sequence[object]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._write(text.getvalue())


def write_json(path: str, content: object) -> None:
    """Write JSON to a file, or to stdout if ``path`` is ``-``. Raises DataError."""
    with JsonFile(path, content):
        pass


def _to_json(content: object, file: IO[str], indent: int | None = None) -> str:
    """JSON as a stream can write it: letters as they are in UTF-8, escaped in other encodings."""
    return json.dumps(content, ensure_ascii=not _is_utf8(file), indent=indent)


def _is_utf8(file: IO[str]) -> bool:
    return (getattr(file, "encoding", None) or "").lower().replace("-", "") == "utf8"
