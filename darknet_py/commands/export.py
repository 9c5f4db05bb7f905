"""Write a network for another runtime: .onnx, .pt2 (torch.export) or .xml (OpenVINO), and check it.

    darknet-py export yolov4-tiny -o yolov4-tiny.onnx --heads nms --dynamic batch
    darknet-py export yolov4.cfg yolov4.weights -o yolov4.xml --names coco.names

The file is run on noise by its own runtime and compared with PyTorch before it is kept."""

from __future__ import annotations

import argparse

from . import _model, _options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _options.add_model(parser)
    group = parser.add_argument_group("file")
    _options.add(group, "-o/--output", metavar="FILE", note="the exported file (default: the cfg's name with .onnx)")
    group.add_argument(
        "--heads",
        choices=["raw", "boxes", "nms"],
        default="raw",
        help="what comes out: the heads' maps, all boxes with scores, or what is left after suppression (default: raw)",
    )
    group.add_argument(
        "--dynamic", choices=["batch", "size", "both"], help="lengths of the input that stay open (default: none)"
    )
    group.add_argument("--opset", type=int, default=18, help="of ONNX, 18 or more (default: 18)")
    group.add_argument("--fp16", action="store_true", help="weights and layers in half precision")
    _options.add(group, "--names", note="(default: those of the catalogue)")
    _options.add(group, "--conf", default=0.25, note="with --heads nms (default: 0.25)")
    _options.add(group, "--nms", default=0.45, note="with --heads nms (default: 0.45)")
    _options.add(group, "--letterbox", note="stored in the file's metadata (default: as the cfg says)")


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    import pathlib

    from ..exporters.exporter import export

    model = _model.find_files(args)
    network = _model.load_network(args, model)
    done = export(
        network,
        args.output or pathlib.Path(model.cfg).with_suffix(".onnx").name,
        heads=args.heads,
        dynamic=args.dynamic is not None and (args.dynamic == "both" or args.dynamic),
        opset=args.opset,
        fp16=args.fp16,
        names=args.names or (None if network.names else model.names),
        letterbox=args.letterbox,
        threshold=args.conf,
        nms=args.nms,
    )
    print(done)
    return 0
