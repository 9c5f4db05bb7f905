"""Say whether cfg and weights fit, and what does not.

Reads both strictly and changes nothing: options without effect, layers that do not fit each other, a file
of weights that is too short, too long, of another network or of another number of classes."""

from __future__ import annotations

import argparse
import warnings

from . import _model


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _model.add(parser)
    parser.add_argument("--names", help="file of class names")


def run(args: argparse.Namespace) -> int:
    """Print what was found; 1 where something does not fit."""
    from .. import cfg, detect, weights
    from ..errors import DarknetError
    from ..network import Network

    model = _model.found(args)
    problems = 0
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        size = tuple(args.size) if args.size else None
        network = Network(cfg.load(model.cfg), size=size, dialect=args.dialect)
    for note in notes:
        print(f"note   {note.message}")
    floats = sum(array.tensor.numel() for array in weights.stored(network))
    print(f"ok     {model.cfg}: {len(network.layers)} layers, {network.flops / 1e9:.3f} BFLOPS, {floats:,} floats")
    if model.weights is not None:
        try:
            weights.load(network, model.weights)
            print(f"ok     {model.weights}: fits to the byte, seen {network.seen:,} pictures")
        except DarknetError as error:
            problems += 1
            print(f"wrong  {error}")
    names = args.names or model.names
    if names and network.heads:
        try:
            detect.read_names(names, network.heads[-1].classes)
            print(f"ok     {names}: {network.heads[-1].classes} class names")
        except DarknetError as error:
            problems += 1
            print(f"wrong  {error}")
    if args.strict:
        problems += len(notes)
    return 1 if problems else 0
