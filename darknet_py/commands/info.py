"""Show a network: layers, shapes, operations and floats.

The table that Darknet prints when it builds a network. No weights are needed."""

from __future__ import annotations

import argparse

from . import _model


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _model.add(parser)
    parser.add_argument("--stored", action="store_true", help="list the arrays of the .weights file instead")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from .. import cfg, weights
    from ..network import Network

    path = _located(args.model)
    size = tuple(args.size) if args.size else None
    network = Network(cfg.load(path), size=size, dialect=args.dialect, strict=args.strict)
    if args.weights:
        weights.load(network, args.weights)
    if args.stored:
        at = 0
        for array in weights.stored(network, writing=True):
            shape = " x ".join(map(str, array.tensor.shape))
            print(f"{at:>12} {array.tensor.numel():>10}  {array.place}  [{shape}]")
            at += array.tensor.numel()
        return 0
    print(network)
    if args.weights:
        print(f"seen {network.seen:,} images, version {'.'.join(map(str, network.version))}")
    return 0


def _located(model: str) -> str:
    """The cfg of MODEL, without asking for its weights."""
    import pathlib

    from ..hub import catalogue

    return model if pathlib.Path(model).exists() or model.endswith(".cfg") else str(catalogue.cfg_path(model))
