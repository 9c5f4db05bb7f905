"""Compare two models layer by layer, and find the first layer that differs.

    darknet-py compare yolov4-tiny.cfg,yolov4-tiny.weights yolov4-tiny.onnx
    darknet-py compare my.cfg,my.weights opencv:my.cfg,my.weights --image a.jpg
    darknet-py compare my.pt darknet:libdarknet.so:my.cfg,my.weights

A and B are each one of
    MODEL[,WEIGHTS]         a cfg, a .pt or .safetensors checkpoint, or a name
                            of the catalogue
    FILE.onnx, .xml, .pt2, .ncnn.param, .tflite or .mlpackage
                            an exported file, run by its own runtime: the
                            heads' outputs and the detections
    opencv:MODEL[,WEIGHTS]  run by OpenCV 4, which reads cfg and weights itself
    darknet:[LIBRARY:]MODEL[,WEIGHTS]
                            run by libdarknet.so of AlexeyAB or pjreddie
                            (default: the installed one)

Both get the same input. The difference of a layer is the largest absolute difference of its outputs, relative to the
RMS of A's output. The exit status is 1 if the models differ."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .._table import format_table
from ..images.limits import MAX_PIXELS
from . import _options
from ._records import write_json

if TYPE_CHECKING:
    from ..compare.matching import BoxMatches
    from ..compare.report import ComparisonReport, LayerDifference

_SHOWN_LAYERS = 20  # numbers of layers with unequal weights that are listed


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("a", metavar="A", help="the first model, see above")
    parser.add_argument("b", metavar="B", help="the second model")
    parser.add_argument("--image", metavar="FILE", help="input image (default: noise)")
    _options.add(parser, "--max-pixels", default=MAX_PIXELS)
    _options.add(parser, "--seed", note="of the noise (default: 0)", default=0)
    _options.add(parser, "--imgsz/--size")
    parser.add_argument(
        "--tolerance", type=float, default=1e-4, metavar="T", help="maximum difference of equal layers (default: 1e-4)"
    )
    _options.add(parser, "--dialect", note="(default: the other model's, or alexeyab)")
    _options.add(parser, "--plugin")
    _options.add(parser, "--conf", default=0.25)
    _options.add(parser, "--nms", default=0.45)
    _options.add(parser, "--nms-kind")
    _options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Compare and print."""
    from ..compare.report import compare_models
    from ..images.sources import expand_sources

    report = compare_models(
        args.a,
        args.b,
        image=expand_sources([args.image])[0] if args.image else None,
        seed=args.seed,
        size=tuple(args.size) if args.size else None,
        tolerance=args.tolerance,
        dialect=args.dialect,
        threshold=args.conf,
        nms=args.nms,
        nms_kind=args.nms_kind,
        max_pixels=args.max_pixels,
    )
    if args.json:
        write_json(args.json, report.to_dict())
    if args.json != "-":
        print("\n".join(_format_report(report)))
    return 0 if report.is_same else 1


def _format_report(report: ComparisonReport) -> list[str]:
    lines = [f"A      {report.a}", f"B      {report.b}", f"input  {report.input}", ""]
    shown = [layer for layer in report.layers if layer.difference is not None or layer is report.first]
    lines += format_table([_layer_cells(layer, report) for layer in shown], "><><")
    if shown:
        lines.append("")
    compared = sum(layer.difference is not None for layer in shown)
    if report.first is not None:
        lines.append(f"first difference: layer {report.first.number} [{report.first.section}]")
        lines += [f"  {cause}" for cause in report.causes]
    elif compared:
        lines.append(f"layers: {compared} of {len(report.layers)} compared, all within {report.tolerance:g}")
    if report.unequal_weights:
        numbers = ", ".join(map(str, report.unequal_weights[:_SHOWN_LAYERS]))
        more = ", ..." if len(report.unequal_weights) > _SHOWN_LAYERS else ""
        lines.append(f"weights differ in layers {numbers}{more}")
    if report.boxes is not None:
        lines.append(_format_boxes(report.boxes))
    return [*lines, "the same" if report.is_same else "not the same"]


def _layer_cells(layer: LayerDifference, report: ComparisonReport) -> tuple[str, ...]:
    shape = " x ".join(map(str, (*layer.shape[:0:-1], *layer.shape[:1])))
    mark = f"<-- first above {report.tolerance:g}" if layer is report.first else ""
    difference = "not in both" if layer.difference is None else f"{layer.difference:.1e}"
    return str(layer.number), layer.section, shape, difference, mark


def _format_boxes(boxes: BoxMatches) -> str:
    text = f"boxes: {boxes.a} in A, {boxes.b} in B, {boxes.matched} matched"
    if boxes.near_threshold:
        text += f"; {boxes.near_threshold} unmatched near the threshold"
    if boxes.matched:
        text += f"\nboxes: differ by at most {boxes.max_pixels:.3f} pixels and {boxes.max_confidence:.5f} in confidence"
    return text
