"""Name what an image shows: ``classifier predict DATA CFG WEIGHTS IMAGE -t 5``."""

from __future__ import annotations

import argparse

from . import files, load, settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    files(parser)
    parser.add_argument("input", metavar="IMAGE", nargs="+")
    parser.add_argument("-t", type=int, default=0, metavar="K", help="classes to show; 0: as top= of DATA says, else 1")


def run(args: argparse.Namespace) -> int:
    """Classify and print."""
    from ...classifier import Classifier

    options, network = settings(args), load(args)
    key = "names" if "names" in options.values else "labels"
    classifier = Classifier(network, names=options.file(key))
    for image in args.input:
        result = classifier(image)
        print(result.to_text(args.t or options.integer("top", 1), network.dialect), flush=True)
    return 0
