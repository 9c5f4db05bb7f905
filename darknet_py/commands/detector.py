"""Darknet's own lines: ``detector test DATA CFG WEIGHTS PICTURE -thresh 0.25 -ext_output -out FILE``.

Flags, defaults and output are Darknet's, so that a script changes one word. Without PICTURE paths are
read from stdin, one a line. The picture with boxes is written to predictions.jpg; -dont_show is accepted
and says nothing new, as no window is ever opened."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from ..errors import DataError
from ..files import replacing
from . import _model, _output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("function", choices=sorted(FUNCTIONS))
    parser.add_argument("data", metavar="DATA", help=".data file; its names= is used")
    parser.add_argument("cfg", metavar="CFG")
    parser.add_argument("weights", metavar="WEIGHTS")
    parser.add_argument("input", metavar="PICTURE", nargs="?")
    parser.add_argument("-thresh", type=float, default=0.25, help="lowest probability of a class (0.25)")
    parser.add_argument("-hier", type=float, default=0.5, help="how sure a class of a tree must be (0.5)")
    parser.add_argument("-ext_output", action="store_true", help="print coordinates as well")
    parser.add_argument("-out", metavar="FILE", help="write JSON")
    parser.add_argument("-save_labels", action="store_true", help="write a label file beside each picture")
    parser.add_argument("-letter_box", action="store_true", help="keep the pictures' aspect")
    parser.add_argument("-dont_show", action="store_true", help="accepted; no window is opened anyway")
    parser.add_argument("-i", type=int, default=None, metavar="GPU", help="number of the GPU; -1: CPU")


def run(args: argparse.Namespace) -> int:
    """Run the function."""
    return FUNCTIONS[args.function](args)


def _test(args: argparse.Namespace) -> int:
    """``test_detector``: boxes on pictures."""
    import pathlib

    from .. import data, labels, loading
    from ..detect import Detector

    settings = data.read_data(args.data)
    names = settings.file("names") if "names" in settings.values else None
    network = loading.load(args.cfg, args.weights, device=_device(args.i))
    detector = Detector(
        network,
        names=names,
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
            label = pathlib.Path(labels.label_path(path))
            with replacing(label, "w") as file:
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


def _device(number: int | None) -> str:
    if number is None:
        return _model.device("auto")
    if number < -1:
        raise DataError(f"-i: expected -1 for the CPU or the number of a GPU, got {number}")
    return "cpu" if number < 0 else f"cuda:{number}"


FUNCTIONS = {"test": _test}
