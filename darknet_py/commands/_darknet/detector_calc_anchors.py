"""Compute anchors for a data set: ``detector calc_anchors DATA -num_of_clusters 9 -width 416 -height 416``.

The anchors are those of Darknet; ``darknet-py anchors`` computes better ones and writes them into a cfg."""

from __future__ import annotations

import argparse

from . import IGNORED, read_data


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("data", metavar="DATA", help=".data file with lines such as train = train.txt")
    parser.add_argument("-num_of_clusters", type=int, default=5, help="number of anchors (default: 5)")
    parser.add_argument("-width", type=int, default=-1, help="input width of the network in pixels")
    parser.add_argument("-height", type=int, default=-1, help="input height of the network in pixels")
    parser.add_argument("-show", action="store_true", help=IGNORED)


def run(args: argparse.Namespace) -> int:
    """Print the anchors as Darknet does, and write anchors.txt and counters_per_class.txt."""
    from ...data import anchors
    from ...data.formats import load_dataset

    classes = read_data(args).get_int("classes", 1)
    dataset = load_dataset(args.data, "train")
    for line in anchors.calc_anchors(dataset, args.num_of_clusters, args.width, args.height, classes=classes):
        print(line)
    return 0
