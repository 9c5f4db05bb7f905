"""Convert weights between .weights, .pt, .safetensors and other libraries.

    darknet-py convert my.weights my.safetensors --cfg my.cfg --names my.names
    darknet-py convert yolov4.safetensors yolov4.weights --write-cfg yolov4.cfg
    darknet-py convert port.pt yolov4.weights --cfg yolov4.cfg --by-order
    darknet-py convert vgg.pth vgg.weights --from-library torchvision/vgg16
    darknet-py convert vgg.weights vgg.pth --to-library torchvision/vgg16

The suffixes select the formats. A .pt or .safetensors also holds the cfg, class names, dialect and header,
unless it is a state dict of another library: docs/backbones.md lists their networks."""

from __future__ import annotations

import argparse

from ..conversion import library_networks
from . import _options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("source", metavar="SOURCE", help="file to read")
    parser.add_argument("target", metavar="TARGET", help="file to write")
    parser.add_argument(
        "--cfg", metavar="FILE", help="the network; not needed for a checkpoint of darknet_py or with a library"
    )
    _options.add(parser, "--names", note="(stored in TARGET)")
    _options.add(parser, "--dialect", note="(default: the checkpoint's, or alexeyab)")
    _options.add(parser, "--upto")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--by-order",
        action="store_true",
        help="SOURCE is a state dict of another PyTorch port: match tensors to layers by their order, not by name",
    )
    forms.add_argument(
        "--from-library",
        metavar="NETWORK",
        choices=library_networks.NAMES,
        help=f"SOURCE is a state dict of a network of another library: {', '.join(library_networks.NAMES)}",
    )
    parser.add_argument(
        "--to-library",
        metavar="NETWORK",
        choices=library_networks.NAMES,
        help="write TARGET as a state dict of a network of another library, as for --from-library",
    )
    parser.add_argument("--fuse-bn", action="store_true", help="fuse batch norm into the weights, for inference")
    _options.add(parser, "--allow-non-finite")
    _options.add(parser, "--plugin")
    parser.add_argument("--write-cfg", metavar="FILE", help="write the cfg of TARGET to FILE")


def run(args: argparse.Namespace) -> int:
    """Convert the file and print what was written."""
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
        from_library=args.from_library,
        to_library=args.to_library,
        fuse_bn=args.fuse_bn,
        write_cfg=args.write_cfg,
        allow_non_finite=args.allow_non_finite,
    )
    print(f"{args.target}: {len(network.layers)} layers, seen {network.seen}, {os.path.getsize(args.target)} bytes")
    return 0
