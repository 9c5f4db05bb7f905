"""Export a network to ONNX, torch.export, OpenVINO or ncnn, and verify the file.

    darknet-py export yolov4-tiny -o my.onnx --heads nms --dynamic batch
    darknet-py export yolov4.cfg yolov4.weights -o yolov4.xml --names coco.names
    darknet-py export yolov4-tiny --format ncnn

The suffix of the file, or --format, selects the format: .onnx, .pt2 (torch.export), .xml (OpenVINO, with a .bin),
.ncnn.param (ncnn, with a .bin and a .json). To verify the file, its own runtime (if installed) runs it on noise, and
the outputs and boxes are compared with PyTorch's. `darknet-py detect FILE IMAGE` runs it."""

from __future__ import annotations

import argparse

from ..errors import DataError
from . import _model, _options

_SUFFIXES = {"onnx": ".onnx", "pt2": ".pt2", "openvino": ".xml", "ncnn": ".ncnn.param"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _options.add_model(parser, without=("--allow-non-finite",))
    group = parser.add_argument_group("file")
    _options.add(
        group,
        "-o/--output",
        metavar="FILE",
        note="the exported file (default: the cfg's name with the suffix of the format)",
    )
    group.add_argument("--format", choices=_SUFFIXES, help="format of the file (default: by its suffix, or onnx)")
    group.add_argument(
        "--heads",
        choices=["raw", "boxes", "nms"],
        default="raw",
        help="what the file returns: the heads' outputs, all boxes and scores, or detections after NMS (default: raw)",
    )
    group.add_argument(
        "--dynamic", choices=["batch", "size", "both"], help="dynamic dimensions of the input (default: none)"
    )
    group.add_argument("--opset", type=int, default=18, metavar="N", help="ONNX opset, 11 or later (default: 18)")
    group.add_argument("--fp16", action="store_true", help="store weights and compute layers in float16")
    _options.add(group, "--allow-non-finite", note="(the file is not verified then)")
    _options.add(group, "--names", note="(default: those of the catalogue)")
    _options.add(group, "--conf", default=0.25, note="(with --heads nms; default: 0.25)")
    _options.add(group, "--nms", default=0.45, note="(with --heads nms; default: 0.45)")
    _options.add(group, "--classes", note="(with --heads nms)")
    _options.add(group, "--skip-classes", note="(with --heads nms)")
    _options.add(group, "--letterbox", note="(stored in the metadata; default: as the cfg says)")


def run(args: argparse.Namespace) -> int:
    """Export the network and print the result."""
    import pathlib

    from ..exporters.exporter import export

    model = _model.find_files(args)
    network = _model.load_network(args, model)
    suffix = _SUFFIXES[args.format or "onnx"]
    output = args.output or pathlib.Path(model.cfg).with_suffix(suffix).name
    if args.format and not output.lower().endswith(pathlib.Path(suffix).suffix):
        raise DataError(f"{output}: expected a name that ends in {suffix}, as --format is {args.format}")
    result = export(
        network,
        output,
        heads=args.heads,
        dynamic=args.dynamic is not None and (args.dynamic == "both" or args.dynamic),
        opset=args.opset,
        fp16=args.fp16,
        names=args.names or (None if network.names else model.names),
        letterbox=args.letterbox,
        threshold=args.conf,
        nms=args.nms,
        classes=args.classes,
        skip_classes=args.skip_classes,
        allow_non_finite=args.allow_non_finite,
    )
    print(result)
    return 0
