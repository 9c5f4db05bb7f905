"""Keep the first layers of a .weights file: ``partial yolov4.cfg yolov4.weights yolov4.conv.137 137``.

Darknet's command: the file that training of another network starts from. The count of images seen is
set to 0, as there."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("cfg", metavar="CFG")
    parser.add_argument("weights", metavar="WEIGHTS", help="a whole file, or one with at least these layers")
    parser.add_argument("output", metavar="OUTPUT", help="file to write, by custom NAME.conv.N")
    parser.add_argument("upto", metavar="N", type=int, help="number of layers to keep, counting every section")
    parser.add_argument("--dialect", default="alexeyab", choices=["alexeyab", "pjreddie"], help="whose rules hold")
    parser.add_argument("--keep-seen", action="store_true", help="keep the count of images seen")


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    from .. import loading, weights

    network = loading.load(args.cfg, args.weights, dialect=args.dialect, upto=args.upto)
    size = weights.save(network, args.output, upto=args.upto, seen=network.seen if args.keep_seen else 0)
    print(f"{args.output}: layers 0 to {args.upto - 1}, {size} bytes")
    return 0
