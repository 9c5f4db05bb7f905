"""Write the first layers of a .weights file as a backbone: ``partial yolov4.cfg yolov4.weights yolov4.conv.137 137``.

Darknet's command. Training of another network can start from the file; its number of images seen is 0."""

from __future__ import annotations

import argparse

from . import _model, _options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("cfg", metavar="CFG", help=f"cfg file of the network, or {_options.NAME}")
    parser.add_argument(
        "weights",
        metavar="WEIGHTS",
        help="weights of the network, or of its first N or more layers; a name of the catalogue fetches them",
    )
    parser.add_argument("output", metavar="OUTPUT", help="file to write, usually called NAME.conv.N")
    parser.add_argument("upto", metavar="N", type=int, help="number of layers to keep; every section counts")
    parser.add_argument("--keep-seen", action="store_true", help="keep the number of images seen")
    _options.add(parser, "--dialect", default="alexeyab")
    _options.add(parser, "--allow-non-finite")
    _options.add(parser, "--plugin")


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    from .. import weights
    from ..training.resume import resolve_weights

    network = _model.load(
        args.cfg,
        resolve_weights(args.weights),
        allow_non_finite=args.allow_non_finite,
        dialect=args.dialect,
        upto=args.upto,
    )
    size = weights.save(
        network,
        args.output,
        upto=args.upto,
        seen=network.seen if args.keep_seen else 0,
        allow_non_finite=args.allow_non_finite,
    )
    print(f"{args.output}: layers 0 to {args.upto - 1}, {size} bytes")
    return 0
