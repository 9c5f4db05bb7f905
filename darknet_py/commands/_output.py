"""Output of verbs: images with boxes, label files, text and progress bars."""

from __future__ import annotations

import argparse
import errno
import itertools
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from ..errors import DataError
from ..files import atomic_write, check_outputs, create_folder, refuse_url
from ..images.sources import unique_stem
from ..images.urls import is_http, url_path
from ._records import JsonFile

if TYPE_CHECKING:
    from PIL import Image

    from ..results.results import Results

T = TypeVar("T")
# Destinations of the arguments that name a file to be written, in all verbs.
_OUTPUTS = (
    *("chart", "coco_json", "darknet_json", "json", "json_file_output", "jsonl", "out", "out_filename", "output"),
    *("csv", "diagram", "target", "write_cfg"),
)
# Of these, files of results in a folder that must exist; that of coco_json is made.
RESULTS = ("csv", "darknet_json", "json", "jsonl")
# Likewise, that name a folder to write to.
_FOLDERS = ("deepstream", "folder", "plots", "save", "save_crop", "save_txt", "triton", "voc")
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
        check_outputs([*image_files, *label_files, json_path, darknet_json_path], images_and_labels(sources))
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

    def save(self, result: Results, *, draw: Callable[[Results], Image.Image] | None = None) -> None:
        """Write the files of one image; ``draw``: instead of ``Results.plot``."""
        if self.images:
            result.save(self.images / self._names[result.path].image, draw=draw)
        if self.labels:
            with atomic_write(self.labels / self._names[result.path].label, "w") as file:
                file.write(result.to_txt(self._confidence))
        if self.crops:
            self._write_crops(self.crops, result)

    def add(self, result: Results, **counts: Any) -> None:
        """Add an image to the JSON files; ``counts``: further values."""
        self._count += 1
        if self.json_path:
            self._results.append(result.to_dict(**counts))
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
        path = pathlib.Path(url_path(source) if is_http(source) else source)
        stem = unique_stem(path.stem or "image", stems)
        suffix = path.suffix.lower()
        names[source] = _Names(stem + (suffix if suffix in _IMAGE_SUFFIXES else ".png"), f"{stem}.txt")
    return names


def check(args: argparse.Namespace, inputs: Iterable[str] = ()) -> None:
    """Raise OutputError if an output of a command line is another of its arguments, one of ``inputs`` or a URL."""
    values = vars(args)
    for folder in (values.get(name) for name in _FOLDERS):
        refuse_url(folder or "")
    arguments = (value for name, value in values.items() if name not in _OUTPUTS)
    texts = (text for value in arguments for text in (value if isinstance(value, list) else [value]))
    parts = (part for text in texts if isinstance(text, str) for part in (text, *re.split("[,:]", text)))
    check_outputs([values.get(name) for name in _OUTPUTS], itertools.chain(parts, inputs))


def require_writable(paths: Iterable[str | None]) -> None:
    """Raise DataError for a file that cannot be written, before the work whose results it is to get."""
    for path in paths:
        if not path or path == "-":
            continue
        place = path if os.path.exists(path) else os.path.dirname(os.path.abspath(path))
        if not os.access(place, os.W_OK):
            number = errno.EACCES if os.path.exists(place) else errno.ENOENT
            raise DataError(f"{path}: {os.strerror(number)}")


def format_result(result: Results) -> str:
    """Format an image's path, size and time, and one row per box: class, score, left, top, width, height in pixels."""
    height, width = result.orig_shape
    count = f"{len(result)} detection" + ("" if len(result) == 1 else "s")
    lines = [f"{result.path}: {width}x{height}, {count}, {sum(result.speed.values()):.1f} ms"]
    boxes = result.boxes
    ids = [-1] * len(boxes) if boxes.id is None else boxes.id.tolist()
    rows = zip(boxes.cls.tolist(), boxes.conf.tolist(), boxes.xyxy.tolist(), ids, strict=True)
    for cls, conf, (x1, y1, x2, y2), track in rows:
        box = f"{x1:6.0f} {y1:6.0f} {x2 - x1:6.0f} {y2 - y1:6.0f}"
        lines.append(f"  {result.names[cls]:20} {conf:6.1%} {box}" + (f"  #{track}" if track >= 0 else ""))
    return "\n".join(lines)


def discard_stdout() -> None:
    """Drop what is still to be written to stdout, whose reader has exited."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_last(text: str) -> None:
    """Print the last line of a command whose work is done whether or not somebody reads it."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        discard_stdout()


def progress_bar(items: Iterable[T], total: int, *, quiet: bool = False, unit: str = "image") -> Iterable[T]:
    """Iterate with a progress bar on stderr, if that is a terminal and there is more than one item."""
    from tqdm import tqdm

    is_hidden = quiet or total < 2 or not sys.stderr.isatty()
    bar: Iterable[T] = tqdm(items, total=total, unit=unit, disable=is_hidden, file=sys.stderr)
    return bar
