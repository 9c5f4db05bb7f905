"""Find objects in images: ``detector test DATA CFG WEIGHTS IMAGE -thresh 0.25 -ext_output -out FILE``.

Without IMAGE paths are read from stdin, one a line. The image with boxes is predictions.jpg."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from ...files import replacing
from .. import _output
from . import files, load, settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    files(parser)
    parser.add_argument("input", metavar="IMAGE", nargs="?")
    parser.add_argument("-thresh", type=float, default=0.25, help="lowest probability of a class (0.25)")
    parser.add_argument("-hier", type=float, default=0.5, help="how sure a class of a tree must be (0.5)")
    parser.add_argument("-ext_output", action="store_true", help="print coordinates as well")
    parser.add_argument("-out", metavar="FILE", help="write JSON")
    parser.add_argument("-save_labels", action="store_true", help="write a label file beside each image")
    parser.add_argument("-letter_box", action="store_true", help="keep the images' aspect")


def run(args: argparse.Namespace) -> int:
    """Detect and print."""
    from ...data import labels
    from ...detector import Detector

    options = settings(args)
    detector = Detector(
        load(args),
        names=options.file("names") if "names" in options.values else None,
        threshold=args.thresh,
        hierarchy=args.hier,
        letterbox=True if args.letter_box else None,
    )
    output = _output.Output(None, None, None, args.out)
    for path in [args.input] if args.input else _asked():
        result = detector(path)
        print(f"{path}: Predicted in {result.speed['inference']:f} milli-seconds.")
        text = result.to_text(coordinates=args.ext_output)
        if text:
            print(text, flush=True)
        result.save("predictions.jpg")
        output.add(result)
        if args.save_labels:
            with replacing(labels.label_path(path), "w") as file:
                file.write(result.to_txt())
    output.close()
    return 0


def _asked() -> Iterator[str]:
    """Paths that stdin gives, asking where somebody sits there."""
    while True:
        if sys.stdin.isatty():
            print("Enter Image Path: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()
