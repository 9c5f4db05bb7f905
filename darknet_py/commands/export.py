"""Write a network for another runtime: .onnx, .pt2 (torch.export) or .xml (OpenVINO), and check it.

    darknet-py export yolov4-tiny -o yolov4-tiny.onnx --heads nms --dynamic batch
    darknet-py export yolov4.cfg yolov4.weights -o yolov4.xml --names coco.names

The file is run on noise by its own runtime and compared with PyTorch before it is kept."""

from __future__ import annotations

import argparse

from . import _model


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _model.add(parser)
    group = parser.add_argument_group("file")
    group.add_argument("-o", "--output", metavar="FILE", help="what to write; default: the cfg's name with .onnx")
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
    group.add_argument("--names", metavar="FILE", help="class names; a catalogue name brings its own")
    group.add_argument(
        "--threshold", type=float, default=0.25, metavar="P", help="lowest probability, of heads=nms (default: 0.25)"
    )
    group.add_argument(
        "--nms", type=float, default=0.45, metavar="IOU", help="overlap that suppresses, of heads=nms (default: 0.45)"
    )
    group.add_argument("--letterbox", action=argparse.BooleanOptionalAction, help="note that images keep their aspect")


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    import pathlib

    from ..exporters.exporter import export

    model = _model.found(args)
    network = _model.load(args, model)
    done = export(
        network,
        args.output or pathlib.Path(model.cfg).with_suffix(".onnx").name,
        heads=args.heads,
        dynamic=args.dynamic is not None and (args.dynamic == "both" or args.dynamic),
        opset=args.opset,
        fp16=args.fp16,
        names=args.names or (None if network.names else model.names),
        letterbox=args.letterbox,
        threshold=args.threshold,
        nms=args.nms,
    )
    print(done)
    return 0
