"""Where verbs put what was found: images, label files, JSON."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar

from ..errors import DataError
from ..files import replacing

if TYPE_CHECKING:
    from ..results.results import Results

T = TypeVar("T")


class Output:
    """Collects results; each target is None where it is not wanted.

    ``images`` and ``labels`` are folders, written to image by image. ``listing`` (one object a
    image with its boxes) and ``darknet`` (the array of Darknet's ``-out``) are files, ``-`` for
    stdout, written by ``close``.
    """

    def __init__(self, images: str | None, labels: str | None, listing: str | None, darknet: str | None) -> None:
        self.images, self.labels = _folder(images), _folder(labels)
        self.listing, self.darknet = listing, darknet
        self.results: list[dict[str, Any]] = []
        self.frames: list[dict[str, Any]] = []
        self.taken: set[str] = set()

    def add(self, result: Results) -> None:
        """Write what belongs to one image."""
        stem = self._free(pathlib.Path(result.path).stem or "image")
        if self.images:
            suffix = pathlib.Path(result.path).suffix.lower()
            result.save(self.images / (stem + (suffix if suffix in (".jpg", ".jpeg", ".png") else ".png")))
        if self.labels:
            with replacing(self.labels / f"{stem}.txt", "w") as file:
                file.write(result.to_txt())
        if self.listing:
            height, width = result.orig_shape
            self.results.append({"path": result.path, "width": width, "height": height, "boxes": result.summary()})
        if self.darknet:
            self.frames.append(result.to_darknet_json(len(self.frames) + 1))

    def close(self) -> None:
        """Write the files, and say on stderr where everything is."""
        for path, content in ((self.listing, self.results), (self.darknet, self.frames)):
            if path:
                write_json(path, content)
        for folder, what in ((self.images, "images"), (self.labels, "labels")):
            if folder:
                print(f"{what} in {folder}/", file=sys.stderr)

    def _free(self, stem: str) -> str:
        """A name that no other image of this run has."""
        name, number = stem, 2
        while name in self.taken:
            name, number = f"{stem}_{number}", number + 1
        self.taken.add(name)
        return name


class Lines:
    """A line of JSON for each image or frame; ``path``: ``-`` for stdout, None for no lines.

    Unlike other files this one grows in its place: it can be followed, and is whole whenever the run stops.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        if self._path and self._path != "-":
            try:
                self._file = open(self._path, "w", encoding="utf-8")
            except OSError as error:
                raise DataError(f"{self._path}: {error.strerror or error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def add(self, result: Results, **place: Any) -> None:
        """Write a line; ``place``: where in a video the image stands."""
        if not self._path:
            return
        height, width = result.orig_shape
        content = {"path": result.path, **place, "width": width, "height": height, "boxes": result.summary()}
        file = self._file or sys.stdout
        file.write(json.dumps(content, ensure_ascii=False) + "\n")
        file.flush()


def write_json(path: str, content: object) -> None:
    """Write JSON to a file, or to stdout where ``path`` is ``-``."""
    text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        with replacing(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def rows(result: Results) -> str:
    """An image's path, size and time, and a row a box."""
    height, width = result.orig_shape
    lines = [f"{result.path}: {width}x{height}, {len(result)} found, {sum(result.speed.values()):.1f} ms"]
    boxes = result.boxes
    for cls, conf, (x1, y1, x2, y2) in zip(boxes.cls.tolist(), boxes.conf.tolist(), boxes.xyxy.tolist(), strict=True):
        place = f"{x1:6.0f} {y1:6.0f} {x2 - x1:6.0f} {y2 - y1:6.0f}"
        lines.append(f"  {result.names[cls]:20} {conf:6.1%} {place}")
    return "\n".join(lines)


def progress(things: Iterable[T], total: int, *, quiet: bool = False, unit: str = "image") -> Iterable[T]:
    """A bar on stderr over more than one thing, where somebody looks at it."""
    from tqdm import tqdm

    hidden = quiet or total < 2 or not sys.stderr.isatty()
    bar: Iterable[T] = tqdm(things, total=total, unit=unit, disable=hidden, file=sys.stderr)
    return bar


def _folder(name: str | None) -> pathlib.Path | None:
    if name is None:
        return None
    folder = pathlib.Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{name}: {error.strerror}") from error
    return folder
