"""Count how many objects any box finds: ``detector recall DATA CFG WEIGHTS``."""

from __future__ import annotations

import argparse

from . import files, load


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    files(parser)


def run(args: argparse.Namespace) -> int:
    """Print a line an image, with the sums so far."""
    from ...data import datasets
    from ...evaluation import recall

    network = load(args)
    for line in recall.recall(network, datasets.load(args.data, "valid", classes=network.heads[-1].classes)):
        print(line, flush=True)
    return 0
