"""Create a small synthetic data set: handwritten digits on textures, without any download.

    darknet-py digits set
    darknet-py evaluate digits set/digits.data
    darknet-py train set/digits.data digits

Writes digits.data, train.txt, valid.txt, digits.names, and images of 96 x 96 pixels with label files to DIR, and prints
the path of the .data file. The network `digits` of the catalogue was trained on the data set of seed 0."""

from __future__ import annotations

import argparse

from . import _options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("folder", metavar="DIR", help="folder of the data set; existing images are overwritten")
    parser.add_argument("--train-images", type=int, default=1600, metavar="N", help="training images (default: 1600)")
    parser.add_argument("--valid-images", type=int, default=400, metavar="N", help="validation images (default: 400)")
    _options.add(parser, "--seed", default=0)
    _options.add(parser, "--quiet")


def run(args: argparse.Namespace) -> int:
    """Create the data set."""
    from ..demo import digits

    counts = (args.train_images, args.valid_images)
    print(digits.write_dataset(args.folder, *counts, seed=args.seed, progress=not args.quiet))
    return 0
