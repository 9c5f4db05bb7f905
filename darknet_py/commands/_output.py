"""Output of verbs: images with boxes, label files, JSON, text and progress bars."""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import pathlib
import re
import sys
import urllib.parse
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from ..errors import DataError
from ..files import OutputError, atomic_write, check_outputs, create_folder
from ..images.urls import is_http

if TYPE_CHECKING:
    from ..results.results import Results

T = TypeVar("T")
# Destinations of the arguments that name a file to be written, in all verbs.
_OUTPUTS = (
    *("chart", "coco_json", "darknet_json", "json", "json_file_output", "jsonl", "out", "out_filename", "output"),
    *("csv", "target", "write_cfg"),
)
_JSON_ERRORS = "backslashreplace"  # of a file name that is not UTF-8: \udcfc is an escape of JSON too
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")  # kept; other images are saved as PNG


class ErrorLog:
    """Prints errors that do not end a run, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, error: DataError) -> None:
        """Print an error."""
        self.count += 1
        print(f"darknet-py: {error}", file=sys.stderr)

    def status(self, unit: str = "image") -> int:
        """Return the exit status: 0, or 1 after errors, whose number is printed."""
        if self.count:
            print(f"darknet-py: {self.count} {unit}{'' if self.count == 1 else 's'} could not be read", file=sys.stderr)
        return 1 if self.count else 0


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


class ResultWriter:
    """Write the detections of images to folders and JSON files; a context manager.

    The JSON files are opened at the start, and hold what there is however the block ends.

    Args:
        images: folder for the images with boxes, written image by image; None: none.
        labels: folder for Darknet label files, written image by image; None: none.
        json_path: JSON file with an object per image; ``-``: stdout; None: none.
        darknet_json_path: JSON file in the format of Darknet's ``-out``; ``-`` and None as above.
        sources: paths or URLs of all images, if there are folders.
        confidence: append the confidence to the lines of label files.
        crops: folder for the part of each image in each box, in a folder for each class; None: none.

    Raises:
        DataError: a folder cannot be created, or a file in it would replace an image or label file of ``sources``.
    """

    def __init__(
        self,
        images: str | None,
        labels: str | None,
        json_path: str | None,
        darknet_json_path: str | None,
        sources: Sequence[str] = (),
        *,
        confidence: bool = False,
        crops: str | None = None,
    ) -> None:
        from ..data.labels import images_and_labels

        self._names = _unique_names(sources)
        image_files = [os.path.join(images, name.image) for name in self._names.values()] if images else []
        label_files = [os.path.join(labels, name.label) for name in self._names.values()] if labels else []
        check_outputs([*image_files, *label_files], images_and_labels(sources))
        self.images = create_folder(images) if images else None
        self.labels = create_folder(labels) if labels else None
        self.crops = create_folder(crops) if crops else None
        self._confidence = confidence
        self._sources = sources
        self.json_path = json_path
        self.darknet_json_path = darknet_json_path
        self._results: list[dict[str, Any]] = []
        self._frames: list[dict[str, Any]] = []
        self._count = 0
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            for path, content in ((self.json_path, self._results), (self.darknet_json_path, self._frames)):
                opened.enter_context(JsonFile(path, content))
            self._resources = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._resources.__exit__(kind, error, at)
        for folder, content_name in ((self.images, "images"), (self.labels, "labels"), (self.crops, "crops")):
            if folder and self._count:
                print(f"{content_name} in {folder}/", file=sys.stderr)

    def add(self, result: Results) -> None:
        """Write the files of one image."""
        self._count += 1
        if self.images:
            result.save(self.images / self._names[result.path].image)
        if self.labels:
            with atomic_write(self.labels / self._names[result.path].label, "w") as file:
                file.write(result.to_txt(self._confidence))
        if self.crops:
            self._write_crops(self.crops, result)
        if self.json_path:
            self._results.append(result_dict(result))
        if self.darknet_json_path:
            self._frames.append(result.to_darknet_json(len(self._frames) + 1))

    def _write_crops(self, folder: pathlib.Path, result: Results) -> None:
        from PIL import Image

        stem = pathlib.Path(self._names[result.path].label).stem
        for number, (name, pixels) in enumerate(result.crops(), start=1):
            path = create_folder(folder / (re.sub(r"[^\w. -]", "_", name) or "_")) / f"{stem}_{number}.png"
            check_outputs([path], self._sources)
            with atomic_write(path) as file:
                Image.fromarray(pixels.squeeze()).save(file, "png")


class _Names(NamedTuple):
    """Names of the files that are written for an image."""

    image: str
    label: str


def _unique_names(sources: Iterable[str]) -> dict[str, _Names]:
    """The names for each image: its own, with a number where another image has that name."""
    stems: set[str] = set()
    names: dict[str, _Names] = {}
    for source in dict.fromkeys(sources):
        path = pathlib.Path(urllib.parse.urlsplit(source).path if is_http(source) else source)
        own = path.stem or "image"
        numbered = (f"{own}_{number}" for number in itertools.count(2))
        stem = next(candidate for candidate in itertools.chain([own], numbered) if candidate not in stems)
        stems.add(stem)
        suffix = path.suffix.lower()
        names[source] = _Names(stem + (suffix if suffix in _IMAGE_SUFFIXES else ".png"), f"{stem}.txt")
    return names


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


def check(args: argparse.Namespace, inputs: Iterable[str] = ()) -> None:
    """Raise OutputError if an output of a command line is another of its arguments or one of ``inputs``."""
    values = vars(args)
    arguments = (value for name, value in values.items() if name not in _OUTPUTS)
    texts = (text for value in arguments for text in (value if isinstance(value, list) else [value]))
    parts = (part for text in texts if isinstance(text, str) for part in (text, *re.split("[,:]", text)))
    check_outputs([values.get(name) for name in _OUTPUTS], itertools.chain(parts, inputs))


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


def format_result(result: Results) -> str:
    """Format an image's path, size and time, and one row per box: class, score, left, top, width, height in pixels."""
    height, width = result.orig_shape
    count = f"{len(result)} detection" + ("" if len(result) == 1 else "s")
    lines = [f"{result.path}: {width}x{height}, {count}, {sum(result.speed.values()):.1f} ms"]
    boxes = result.boxes
    for cls, conf, (x1, y1, x2, y2) in zip(boxes.cls.tolist(), boxes.conf.tolist(), boxes.xyxy.tolist(), strict=True):
        box = f"{x1:6.0f} {y1:6.0f} {x2 - x1:6.0f} {y2 - y1:6.0f}"
        lines.append(f"  {result.names[cls]:20} {conf:6.1%} {box}")
    return "\n".join(lines)


def print_last(text: str) -> None:
    """Print the last line of a command whose work is done whether or not somebody reads it."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def progress_bar(items: Iterable[T], total: int, *, quiet: bool = False, unit: str = "image") -> Iterable[T]:
    """Iterate with a progress bar on stderr, if that is a terminal and there is more than one item."""
    from tqdm import tqdm

    is_hidden = quiet or total < 2 or not sys.stderr.isatty()
    bar: Iterable[T] = tqdm(items, total=total, unit=unit, disable=is_hidden, file=sys.stderr)
    return bar
