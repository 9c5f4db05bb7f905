"""Check that cfg and weights fit, or check a data set.

    darknet-py check my.cfg my.weights
    darknet-py check my.data --per-class

Reports, for a network, options without effect, layers that do not fit each other, and weights that are too short, too
long, or of another network or number of classes; for a data set (a .data file, a data.yaml, COCO's JSON, a folder),
missing, broken, invalid and duplicate images and labels. The exit status is 1 if there are problems."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterable

from . import _model, _options

_DATA_SUFFIXES = (".data", ".yaml", ".yml", ".json", ".txt")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _options.add_model(parser, without=("--device",))
    _options.add(parser, "--names")
    parser.add_argument(
        "--per-class", action="store_true", help="for a data set: print the number of objects per class"
    )


def run(args: argparse.Namespace) -> int:
    """Print the checks; return 1 if there are problems."""
    if args.model.endswith(_DATA_SUFFIXES) or os.path.isdir(args.model):
        return _check_data(args)
    return _check_network(args)


def _check_data(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..data import check, data_file

    classes = len(data_file.read_names(args.names)) if args.names else None
    problems = 0

    def progress_bar(names: Iterable[str]) -> Iterable[str]:
        bar: Iterable[str] = tqdm(names, unit="image", file=sys.stderr, disable=None)
        return bar

    for report in check.check_dataset(args.model, classes=classes, progress=progress_bar):
        print(f"ok     {report.summary}")
        if args.per_class:
            print("\n".join(report.class_lines()))
        for problem in report.problems:
            print(f"wrong  {problem}")
        problems += len(report.problems)
    return 1 if problems else 0


def _check_network(args: argparse.Namespace) -> int:
    from .. import cfg, weights
    from ..cfg import schema
    from ..data.class_names import resolve_class_names
    from ..errors import DarknetError, WeightsWarning
    from ..network import Network

    model = _model.find_files(args)
    problems = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        size = tuple(args.size) if args.size else None
        network = Network(
            cfg.load(model.cfg, allow_paths=args.allow_paths),
            size=size,
            dialect=args.dialect,
            max_bytes=args.max_bytes,
        )
    options = (network.options, *(layer.options for layer in network))
    notes = [str(warning.message) for warning in caught]
    notes += [str(option) for option in schema.ineffective_options(network.config, options)]
    for note in notes:
        print(f"note   {note}")
    floats = sum(array.tensor.numel() for array in weights.stored(network))
    print(f"ok     {model.cfg}: {len(network.layers)} layers, {network.flops / 1e9:.3f} BFLOPS, {floats:,} floats")
    if model.weights is not None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", WeightsWarning)
                weights.load(network, model.weights)
            print(f"ok     {model.weights}: fits to the byte, seen {network.seen:,} images")
        except (DarknetError, WeightsWarning) as error:
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
