"""Where verbs put what was found: pictures, label files, JSON."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import DataError
from ..files import replacing

if TYPE_CHECKING:
    from ..results import Results

T = TypeVar("T")


class Output:
    """Collects results; each target is None where it is not wanted.

    ``pictures`` and ``labels`` are folders, written to picture by picture. ``listing`` (one object a
    picture with its boxes) and ``darknet`` (the array of Darknet's ``-out``) are files, ``-`` for
    stdout, written by ``close``.
    """

    def __init__(self, pictures: str | None, labels: str | None, listing: str | None, darknet: str | None) -> None:
        self.pictures, self.labels = _folder(pictures), _folder(labels)
        self.listing, self.darknet = listing, darknet
        self.results: list[dict[str, Any]] = []
        self.frames: list[dict[str, Any]] = []
        self.taken: set[str] = set()

    def add(self, result: Results) -> None:
        """Write what belongs to one picture."""
        stem = self._free(pathlib.Path(result.path).stem or "picture")
        if self.pictures:
            suffix = pathlib.Path(result.path).suffix.lower()
            result.save(self.pictures / (stem + (suffix if suffix in (".jpg", ".jpeg", ".png") else ".png")))
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
        for folder, what in ((self.pictures, "pictures"), (self.labels, "labels")):
            if folder:
                print(f"{what} in {folder}/", file=sys.stderr)

    def _free(self, stem: str) -> str:
        """A name that no other picture of this run has."""
        name, number = stem, 2
        while name in self.taken:
            name, number = f"{stem}_{number}", number + 1
        self.taken.add(name)
        return name


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


def progress(things: Iterable[T], total: int, *, quiet: bool = False) -> Iterable[T]:
    """A bar on stderr over more than one thing, where somebody looks at it."""
    from tqdm import tqdm

    hidden = quiet or total < 2 or not sys.stderr.isatty()
    bar: Iterable[T] = tqdm(things, total=total, unit="picture", disable=hidden, file=sys.stderr)
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
