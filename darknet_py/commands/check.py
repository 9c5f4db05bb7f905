"""Say whether cfg and weights fit, or what is wrong with a data set.

    darknet-py check my.cfg my.weights
    darknet-py check my.data

Changes nothing. Of a network: options without effect, layers that do not fit each other, a file of weights
that is too short, too long, of another network or of another number of classes. Of a data set (a .data file,
a data.yaml, COCO's JSON, a folder): images and labels that are missing, broken, odd or twice there."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterable

from . import _model

_DATA = (".data", ".yaml", ".yml", ".json", ".txt")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _model.add(parser)
    parser.add_argument("--names", help="file of class names")
    parser.add_argument("--classes", action="store_true", help="of a data set: count the objects of each class")


def run(args: argparse.Namespace) -> int:
    """Print what was found; 1 where something is wrong."""
    if args.model.endswith(_DATA) or os.path.isdir(args.model):
        return _data(args)
    return _network(args)


def _data(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..data import check, data_file

    classes = len(data_file.read_names(args.names)) if args.names else None
    problems = 0

    def watch(names: Iterable[str]) -> Iterable[str]:
        bar: Iterable[str] = tqdm(names, unit="image", file=sys.stderr, disable=None)
        return bar

    for checked in check.check(args.model, classes=classes, watch=watch):
        print(f"ok     {checked.summary}")
        if args.classes:
            print("\n".join(checked.classes()))
        for problem in checked.problems:
            print(f"wrong  {problem}")
        problems += len(checked.problems)
    return 1 if problems else 0


def _network(args: argparse.Namespace) -> int:
    from .. import cfg, weights
    from ..cfg import schema
    from ..data.class_names import resolve_class_names
    from ..errors import DarknetError
    from ..network import Network

    model = _model.found(args)
    problems = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        size = tuple(args.size) if args.size else None
        network = Network(cfg.load(model.cfg), size=size, dialect=args.dialect)
    options = (network.options, *(layer.options for layer in network))
    notes = [str(warning.message) for warning in caught]
    notes += [str(option) for option in schema.ineffective(network.config, options)]
    for note in notes:
        print(f"note   {note}")
    floats = sum(array.tensor.numel() for array in weights.stored(network))
    print(f"ok     {model.cfg}: {len(network.layers)} layers, {network.flops / 1e9:.3f} BFLOPS, {floats:,} floats")
    if model.weights is not None:
        try:
            weights.load(network, model.weights)
            print(f"ok     {model.weights}: fits to the byte, seen {network.seen:,} images")
        except DarknetError as error:
            problems += 1
            print(f"wrong  {error}")
    names = args.names or model.names
    if names and network.heads:
        try:
            resolve_class_names(names, network.heads[-1].classes)
            print(f"ok     {names}: {network.heads[-1].classes} class names")
        except DarknetError as error:
            problems += 1
            print(f"wrong  {error}")
    if args.strict:
        problems += len(notes)
    return 1 if problems else 0
