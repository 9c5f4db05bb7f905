"""Darknet's own command lines, ``./darknet COMMAND FUNCTION ...`` with ``darknet-py`` for ``./darknet``.

A module here is one function, called COMMAND_FUNCTION: ``configure(parser)`` and ``run(args)`` as a verb
has them. ``add`` makes the verb of a command out of its functions. Flags, their defaults and what is
printed are Darknet's, so that a script changes one word; a flag for windows is accepted and does nothing.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from ...errors import DataError

if TYPE_CHECKING:
    from ...data.data_file import Options
    from ...network import Network


def add(parser: argparse.ArgumentParser, command: str) -> None:
    """Give the verb ``command`` its functions."""
    choose = parser.add_subparsers(metavar="FUNCTION", required=True)
    for name in sorted(module.name for module in iter_modules(__path__)):
        owner, _, function = name.partition("_")
        if owner != command:
            continue
        module = import_module(f"{__name__}.{name}")
        text = module.__doc__ or ""
        short = text.partition("\n")[0].replace("`", "").rstrip(".")
        sub = choose.add_parser(
            function, help=short, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.configure(sub)
        sub.set_defaults(run=module.run)


def files(parser: argparse.ArgumentParser, *, weights: str | None = None) -> None:
    """Add DATA, CFG, WEIGHTS and the flags that every function takes. ``weights``: argparse's ``nargs``."""
    parser.add_argument("data", metavar="DATA", help="file of lines such as names = coco.names")
    parser.add_argument("cfg", metavar="CFG")
    parser.add_argument("weights", metavar="WEIGHTS", nargs=weights)
    parser.add_argument("-i", type=int, metavar="GPU", help="number of the GPU; -1: the CPU; by default the fastest")
    parser.add_argument("-dont_show", action="store_true", help="accepted; no window is opened anyway")


def settings(args: argparse.Namespace) -> Options:
    """What the .data file says."""
    from ...data import data_file

    return data_file.read_data(args.data)


def load(args: argparse.Namespace) -> Network:
    """The network of CFG and WEIGHTS, on its device."""
    from ... import loading

    return loading.load(args.cfg, args.weights, device=device(args))


def device(args: argparse.Namespace) -> str:
    """The torch device that ``-i`` names."""
    from .. import _model

    if args.i is None:
        return _model.device("auto")
    if args.i < -1:
        raise DataError(f"-i: expected -1 for the CPU or the number of a GPU, got {args.i}")
    return "cpu" if args.i < 0 else f"cuda:{args.i}"
