"""Convert weights between .weights, .pt and .safetensors, nothing lost.

    darknet-py convert yolov4.weights yolov4.safetensors --cfg yolov4.cfg --names coco.names
    darknet-py convert yolov4.safetensors yolov4.weights --write-cfg yolov4.cfg
    darknet-py convert port.pt yolov4.weights --cfg yolov4.cfg --by-order

The suffixes say the kinds. A .pt or .safetensors carries cfg, class names, dialect and header with it."""

from __future__ import annotations

import argparse

from . import _options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("source", metavar="SOURCE", help="file to read")
    parser.add_argument("target", metavar="TARGET", help="file to write")
    parser.add_argument("--cfg", help="the network; a checkpoint of darknet_py needs none")
    _options.add(parser, "--names", note="to store in TARGET")
    _options.add(parser, "--dialect", note="(default: a checkpoint's own, or alexeyab)")
    _options.add(parser, "--upto")
    parser.add_argument("--by-order", action="store_true", help="SOURCE is a state dict of another program")
    parser.add_argument("--fold", action="store_true", help="work batch norm into the weights, for inference")
    parser.add_argument("--write-cfg", metavar="FILE", help="where to write the cfg that TARGET belongs to")


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    import os

    from ..conversion.checkpoints import convert

    network = convert(
        args.source,
        args.target,
        cfg=args.cfg,
        names=args.names,
        dialect=args.dialect,
        upto=args.upto,
        by_order=args.by_order,
        fold=args.fold,
        write_cfg=args.write_cfg,
    )
    print(f"{args.target}: {len(network.layers)} layers, seen {network.seen}, {os.path.getsize(args.target)} bytes")
    return 0
