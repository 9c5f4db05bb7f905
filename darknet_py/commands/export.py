"""Export a network to ONNX, torch.export, OpenVINO, ncnn, LiteRT or Core ML, and verify the file.

    darknet-py export yolov4-tiny -o my.onnx --heads nms --dynamic batch
    darknet-py export yolov4.cfg yolov4.weights -o yolov4.xml --names coco.names
    darknet-py export yolov4-tiny --format ncnn
    darknet-py export yolov4-tiny --int8 --calibrate coco.data
    darknet-py export yolov4-tiny --triton models

The suffix of the file, or --format, selects the format: .onnx, .pt2 (torch.export), .xml (OpenVINO, with a .bin),
.ncnn.param (ncnn, with a .bin and a .json), .tflite (LiteRT), .mlpackage (Core ML, a folder). To verify the file, its
own runtime (if installed) runs it on noise, and the outputs and boxes are compared with PyTorch's.
`darknet-py detect FILE IMAGE` runs it.

--int8 writes ONNX or OpenVINO with convolutions in int8. It needs images: ranges come from a sample of them, and with
labels mAP (top-1 of classifiers) is computed before and after; layers that lose too much are kept in float."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..messages import info_on_stderr
from . import _export_folders, _model, _options

if TYPE_CHECKING:
    from ..network import Network

_SUFFIXES = {
    "onnx": ".onnx",
    "pt2": ".pt2",
    "openvino": ".xml",
    "ncnn": ".ncnn.param",
    "tflite": ".tflite",
    "coreml": ".mlpackage",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _options.add_model(parser, without=("--allow-non-finite",))
    group = parser.add_argument_group("file")
    places = group.add_mutually_exclusive_group()
    _options.add(
        places,
        "-o/--output",
        metavar="FILE",
        note="the exported file (default: the cfg's name with the suffix of the format)",
    )
    _export_folders.add(group, places)
    group.add_argument("--format", choices=_SUFFIXES, help="format of the file (default: by its suffix, or onnx)")
    group.add_argument(
        "--heads",
        choices=["raw", "boxes", "nms"],
        help="what the file returns: the heads' outputs, all boxes and scores, or detections after NMS (default: raw; "
        "boxes with --triton and --deepstream)",
    )
    group.add_argument(
        "--dynamic",
        choices=["batch", "size", "both"],
        help="dynamic dimensions of the input (default: none; batch with --triton and --deepstream)",
    )
    group.add_argument("--opset", type=int, default=18, metavar="N", help="ONNX opset, 11 or later (default: 18)")
    group.add_argument("--fp16", action="store_true", help="store weights and compute layers in float16")
    _options.add(group, "--allow-non-finite", note="(the file is not verified then)")
    _options.add(group, "--names", note="(default: those of the catalogue)")
    _options.add(group, "--conf", default=0.25, note="(with --heads nms or --deepstream; default: 0.25)")
    _options.add(group, "--nms", default=0.45, note="(with --heads nms or --deepstream; default: 0.45)")
    _options.add(group, "--classes", note="(with --heads nms)")
    _options.add(group, "--skip-classes", note="(with --heads nms)")
    _options.add(group, "--letterbox", note="(stored in the metadata; default: as the cfg says)")
    _options.add(group, "--quiet")
    _add_int8(parser)


def _add_int8(parser: argparse.ArgumentParser) -> None:
    """Add the options of int8; those without a default here are refused without --int8."""
    group = parser.add_argument_group("int8 (ONNX and OpenVINO)")
    group.add_argument("--int8", action="store_true", help="compute convolutions in int8")
    group.add_argument("--calibrate", metavar="DATA", help=f"images to calibrate with: {_options.DATA}")
    group.add_argument(
        "--calibration-images", type=int, metavar="N", help="images of DATA to calibrate with (default: 64)"
    )
    _options.add(group, "--subset", note="(default: valid)")
    _options.add(group, "--map-classes")
    _options.add(group, "--protocol", note="(default: darknet)")
    group.add_argument(
        "--max-drop", type=float, metavar="POINTS", help="points of mAP or top-1 that may be lost (default: 0.5)"
    )
    group.add_argument(
        "--weight-bits",
        type=int,
        choices=[7, 8],
        help="bits of the weights (default: 7 where this machine's x86 processor has no VNNI, else 8)",
    )
    _options.add(group, "--seed", note="of the sample (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Export the network and print the result."""
    import pathlib

    from ..exporters.exporter import export

    int8 = _int8_options(args)
    is_folder = _export_folders.check(args)
    model = _model.find_files(args)
    network = _model.load_network(args, model)
    suffix = (".int8" if args.int8 else "") + _SUFFIXES[args.format or "onnx"]
    output = args.output or pathlib.Path(model.cfg).with_suffix(suffix).name
    if args.format and pathlib.Path(output).suffix.lower() != pathlib.Path(f"name{suffix}").suffix:
        raise DataError(f"{output}: expected a name that ends in {suffix}, as --format is {args.format}")
    options: dict[str, Any] = {
        "heads": args.heads or "raw",
        "dynamic": args.dynamic is not None and (args.dynamic == "both" or args.dynamic),
        "opset": args.opset,
        "names": args.names or (None if network.names else model.names),
        "letterbox": args.letterbox,
        "threshold": args.conf,
        "nms": args.nms,
    }
    options |= {"classes": args.classes, "skip_classes": args.skip_classes}
    if args.int8:
        return _export_int8(args, network, output, options | int8)
    options |= {"fp16": args.fp16, "allow_non_finite": args.allow_non_finite}
    if is_folder:
        return _export_folders.export_folder(args, network, model.cfg, options)
    # Which converter is at work for a minute.
    with contextlib.nullcontext() if args.quiet else info_on_stderr("darknet_py.exporters"):
        result = export(network, output, **options)
    print(result)
    return 0


def _int8_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of ``export_int8`` that were given. Raises DataError for those that do not fit together."""
    names = ("calibration_images", "subset", "map_classes", "protocol", "max_drop", "weight_bits", "seed")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if not args.int8:
        if args.calibrate or given:
            name = "calibrate" if args.calibrate else next(iter(given))
            raise DataError(f"--{name.replace('_', '-')}: expected --int8 with it")
        return {}
    if not args.calibrate:
        raise DataError("--int8: expected --calibrate DATA, images that the network is to work on")
    if args.fp16:
        raise DataError("--int8: expected no --fp16: what is not int8 is float32")
    if args.allow_non_finite:
        raise DataError("--int8: expected no --allow-non-finite: NaN and Inf have no range to calibrate")
    if args.format not in (None, "onnx", "openvino"):
        raise DataError(f"--int8: expected --format onnx or openvino, got {args.format}")
    return given


def _export_int8(args: argparse.Namespace, network: Network, output: str, options: dict[str, Any]) -> int:
    """Export in int8 and print the table, and the steps on stderr."""
    from ..quantization.int8_export import export_int8

    def show(step: str) -> None:
        if not args.quiet:
            print(step, file=sys.stderr, flush=True)

    print(export_int8(network, output, args.calibrate, **options, progress=not args.quiet, on_step=show))
    return 0
