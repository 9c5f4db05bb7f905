"""Make a small data set: handwritten digits on textures, for where nothing can be downloaded.

    darknet-py digits set
    darknet-py evaluate digits set/digits.data
    darknet-py train set/digits.data digits

DIR gets digits.data, train.txt, valid.txt, digits.names, and images of 96 x 96 with a label file beside each.
The network that the catalogue calls digits was trained on the set of seed 0. Prints the path of the .data file."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("folder", metavar="DIR", help="where the set is made; images of the same name are replaced")
    parser.add_argument("--train", type=int, default=1600, metavar="N", help="images to train on (1600)")
    parser.add_argument("--valid", type=int, default=400, metavar="N", help="images to validate on (400)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (0)")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    """Make it."""
    from ..demo import digits

    print(digits.write(args.folder, args.train, args.valid, seed=args.seed, progress=not args.quiet))
    return 0
