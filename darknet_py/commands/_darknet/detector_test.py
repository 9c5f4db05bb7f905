"""Detect objects in images: ``detector test DATA CFG WEIGHTS IMAGE -thresh 0.25 -ext_output -out FILE``.

Without IMAGE, paths are read from stdin, one per line. The image with boxes is written to predictions.jpg."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from collections.abc import Iterator

from ...files import OutputError, atomic_write, check_outputs
from .. import _output
from . import HIERARCHY, add_arguments, load_network, read_data


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_arguments(parser)
    parser.add_argument("input", metavar="IMAGE", nargs="?", help="image (default: paths from stdin)")
    parser.add_argument("-thresh", type=float, default=0.25, metavar="P", help="score threshold (default: 0.25)")
    parser.add_argument("-hier", type=float, default=0.5, metavar="P", help=HIERARCHY)
    parser.add_argument("-ext_output", action="store_true", help="also print the coordinates of the boxes")
    parser.add_argument("-out", metavar="FILE", help="write JSON in Darknet's format")
    parser.add_argument("-save_labels", action="store_true", help="write a label file next to each image")
    parser.add_argument("-letter_box", action="store_true", help="keep the aspect ratio of images")


def run(args: argparse.Namespace) -> int:
    """Detect objects and print them."""
    from ...data import labels
    from ...detector import Detector

    options = read_data(args)
    detector = Detector(
        load_network(args),
        names=options.get_path("names") if "names" in options.values else None,
        threshold=args.thresh,
        hierarchy=args.hier,
        letterbox=True if args.letter_box else None,
    )
    errors = _output.ErrorLog()
    with _output.ResultWriter(None, None, None, args.out) as writer:
        for result in detector.stream([args.input] if args.input else _read_paths(), workers=0, on_error=errors.add):
            print(f"{result.path}: Predicted in {result.speed['inference']:f} milli-seconds.")
            text = result.to_text(coordinates=args.ext_output)
            if text:
                print(text, flush=True)
            check_outputs([args.out], labels.images_and_labels([result.path]))
            result.save("predictions.jpg")
            writer.add(result)
            if args.save_labels:
                _save_label(labels.label_path(result.path), result.to_txt())
    return errors.status()


def _save_label(path: str, text: str) -> None:
    """Write a label file, but do not replace one with another content, which may be the ground truth."""
    if os.path.exists(path) and pathlib.Path(path).read_text(encoding="utf-8", errors="replace") != text:
        raise OutputError(f"{path}: has other labels, perhaps the ground truth: remove it first to get the detections")
    with atomic_write(path, "w") as file:
        file.write(text)


def _read_paths() -> Iterator[str]:
    """Yield paths from stdin, with a prompt if that is a terminal."""
    while True:
        if sys.stdin.isatty():
            print("Enter Image Path: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()
