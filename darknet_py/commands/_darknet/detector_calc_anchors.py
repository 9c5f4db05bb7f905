"""Find anchors for a data set: ``detector calc_anchors DATA -num_of_clusters 9 -width 416 -height 416``.

As Darknet does it; ``darknet-py anchors`` finds better ones and writes them into a cfg."""

from __future__ import annotations

import argparse

from . import settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("data", metavar="DATA", help="file of lines such as train = train.txt")
    parser.add_argument("-num_of_clusters", type=int, default=5, help="number of anchors (5)")
    parser.add_argument("-width", type=int, default=-1, help="of the network's input, in pixels")
    parser.add_argument("-height", type=int, default=-1, help="of the network's input, in pixels")
    parser.add_argument("-show", action="store_true", help="accepted; no window is opened")


def run(args: argparse.Namespace) -> int:
    """Print what Darknet prints and write anchors.txt and counters_per_class.txt."""
    from ...data import anchors, datasets

    classes = settings(args).integer("classes", 1)
    dataset = datasets.load(args.data, "train")
    for line in anchors.calc_anchors(dataset, args.num_of_clusters, args.width, args.height, classes=classes):
        print(line)
    return 0
