"""Classify images: ``classifier predict DATA CFG WEIGHTS IMAGE -t 5``."""

from __future__ import annotations

import argparse

from . import add_arguments, load_network, read_data


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_arguments(parser)
    parser.add_argument("input", metavar="IMAGE", nargs="+", help="image to classify")
    parser.add_argument(
        "-t", type=int, default=0, metavar="K", help="number of classes to print (default: top= of DATA, otherwise 1)"
    )


def run(args: argparse.Namespace) -> int:
    """Classify each image and print the classes."""
    from ...classifier import Classifier

    options = read_data(args)
    network = load_network(args)
    key = "names" if "names" in options.values else "labels"
    classifier = Classifier(network, names=options.get_path(key))
    for image in args.input:
        result = classifier(image)
        print(result.to_text(args.t or options.get_int("top", 1), network.dialect), flush=True)
    return 0
