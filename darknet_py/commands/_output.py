"""Output of verbs: images with boxes, label files, JSON, text and progress bars."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar

from ..errors import DataError
from ..files import atomic_write

if TYPE_CHECKING:
    from ..results.results import Results

T = TypeVar("T")
_JSON_ERRORS = "backslashreplace"  # of a file name that is not UTF-8: \udcfc is an escape of JSON too
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")  # kept; other images are saved as PNG


class ResultWriter:
    """Write the detections of images to folders and JSON files.

    Args:
        images: folder for the images with boxes, written image by image; None: none.
        labels: folder for Darknet label files, written image by image; None: none.
        json_path: JSON file with an object per image, written by ``close``; ``-``: stdout; None: none.
        darknet_json_path: JSON file in the format of Darknet's ``-out``, written by ``close``; ``-`` and None as above.

    Raises:
        DataError: a folder cannot be created.
    """

    def __init__(
        self, images: str | None, labels: str | None, json_path: str | None, darknet_json_path: str | None
    ) -> None:
        self.images = _create_folder(images)
        self.labels = _create_folder(labels)
        self.json_path = json_path
        self.darknet_json_path = darknet_json_path
        self._results: list[dict[str, Any]] = []
        self._frames: list[dict[str, Any]] = []
        self._stems: set[str] = set()

    def add(self, result: Results) -> None:
        """Write the files of one image."""
        stem = self._unique(pathlib.Path(result.path).stem or "image")
        if self.images:
            suffix = pathlib.Path(result.path).suffix.lower()
            result.save(self.images / (stem + (suffix if suffix in _IMAGE_SUFFIXES else ".png")))
        if self.labels:
            with atomic_write(self.labels / f"{stem}.txt", "w") as file:
                file.write(result.to_txt())
        if self.json_path:
            self._results.append(result_dict(result))
        if self.darknet_json_path:
            self._frames.append(result.to_darknet_json(len(self._frames) + 1))

    def close(self) -> None:
        """Write the JSON files, and name the folders on stderr."""
        for path, content in ((self.json_path, self._results), (self.darknet_json_path, self._frames)):
            if path:
                write_json(path, content)
        for folder, content_name in ((self.images, "images"), (self.labels, "labels")):
            if folder:
                print(f"{content_name} in {folder}/", file=sys.stderr)

    def _unique(self, stem: str) -> str:
        """Return a file name without suffix that no other image of this run has."""
        name = stem
        number = 2
        while name in self._stems:
            name = f"{stem}_{number}"
            number += 1
        self._stems.add(name)
        return name


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
            self._file.close()

    def write(self, content: dict[str, Any]) -> None:
        """Write one line."""
        if not self._path:
            return
        file = self._file or sys.stdout
        file.write(_to_json(content, file) + "\n")
        file.flush()


def result_dict(result: Results, **position: Any) -> dict[str, Any]:
    """Return the detections of an image as plain values; ``position``: index and timestamp of a frame."""
    height, width = result.orig_shape
    return {"path": result.path, **position, "width": width, "height": height, "boxes": result.summary()}


def write_json(path: str, content: object) -> None:
    """Write JSON to a file, or to stdout if ``path`` is ``-``. Raises DataError."""
    if path == "-":
        sys.stdout.write(_to_json(content, sys.stdout, indent=1) + "\n")
        return
    try:
        with atomic_write(path, "w", encoding="utf-8", errors=_JSON_ERRORS) as file:
            file.write(_to_json(content, file, indent=1) + "\n")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


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


def progress_bar(items: Iterable[T], total: int, *, quiet: bool = False, unit: str = "image") -> Iterable[T]:
    """Iterate with a progress bar on stderr, if that is a terminal and there is more than one item."""
    from tqdm import tqdm

    is_hidden = quiet or total < 2 or not sys.stderr.isatty()
    bar: Iterable[T] = tqdm(items, total=total, unit=unit, disable=is_hidden, file=sys.stderr)
    return bar


def _create_folder(name: str | None) -> pathlib.Path | None:
    if name is None:
        return None
    folder = pathlib.Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{name}: {error.strerror}") from error
    return folder
