"""Darknet's command lines, ``./darknet COMMAND FUNCTION ...``, with ``darknet-py`` in place of ``./darknet``.

A module is one function, named COMMAND_FUNCTION, with ``configure(parser)`` and ``run(args)`` like a verb;
``add_functions`` adds those of a command to its verb. Flags, defaults and output are Darknet's. Flags that open
windows are accepted and ignored.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from ...errors import DataError

if TYPE_CHECKING:
    from ...data.data_file import DataFile
    from ...network import Network


def add_functions(parser: argparse.ArgumentParser, command: str) -> None:
    """Add the functions of a command to its parser."""
    subparsers = parser.add_subparsers(metavar="FUNCTION", required=True)
    for name in sorted(module.name for module in iter_modules(__path__)):
        owner, _, function = name.partition("_")
        if owner != command:
            continue
        module = import_module(f"{__name__}.{name}")
        text = module.__doc__ or ""
        short = text.partition("\n")[0].replace("`", "").rstrip(".")
        sub = subparsers.add_parser(
            function,
            help=short,
            description=text.replace("``", ""),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.configure(sub)
        sub.set_defaults(run=module.run)


IGNORED = "ignored: no window is opened"
HIERARCHY = "for class trees, the probability above which a child class is preferred to its parent (default: 0.5)"


def add_arguments(parser: argparse.ArgumentParser, *, data: bool = True, weights: str | None = None) -> None:
    """Add DATA, CFG, WEIGHTS and the flags of every function.

    Args:
        parser: the parser of the function.
        data: whether the function takes a .data file.
        weights: argparse's ``nargs`` of WEIGHTS; ``"?"``: weights to start a training from.
    """
    if data:
        parser.add_argument("data", metavar="DATA", help=".data file with lines such as names = coco.names")
    parser.add_argument("cfg", metavar="CFG", help="cfg file of the network")
    text = "weights to start from (default: random)" if weights == "?" else "weights of the network"
    parser.add_argument("weights", metavar="WEIGHTS", nargs=weights, help=text)
    parser.add_argument(
        "-i", type=int, metavar="GPU", help="GPU number; -1: the CPU (default: CUDA if available, then MPS)"
    )
    if data:
        parser.add_argument("-dont_show", action="store_true", help=IGNORED)


def add_evaluation_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the thresholds that mAP and its counts are computed with."""
    parser.add_argument(
        "-thresh", type=float, default=0.25, metavar="P", help="score threshold for TP, FP and F1 (default: 0.25)"
    )
    parser.add_argument(
        "-iou_thresh",
        type=float,
        default=0.5,
        metavar="IOU",
        help="IoU at which a detection counts as correct (default: 0.5)",
    )


def read_data(args: argparse.Namespace) -> DataFile:
    """Read the .data file."""
    from ...data import data_file

    return data_file.read_data_file(args.data)


def load_network(args: argparse.Namespace) -> Network:
    """Load the network of CFG and WEIGHTS, on the device that ``-i`` names."""
    from ... import loading

    return loading.load(args.cfg, args.weights, device=resolve_device(args))


def resolve_device(args: argparse.Namespace) -> str:
    """Return the name of the torch device that ``-i`` names. Raises DataError."""
    from .. import _model

    if args.i is None:
        return _model.resolve_device("auto")
    if args.i < -1:
        raise DataError(f"-i: expected -1 for the CPU or the number of a GPU, got {args.i}")
    return "cpu" if args.i < 0 else f"cuda:{args.i}"
