"""Say whether two models are the same, and which layer is the first that differs.

    darknet-py compare yolov4-tiny.cfg,yolov4-tiny.weights yolov4-tiny.onnx
    darknet-py compare my.cfg,my.weights opencv:my.cfg,my.weights --image dog.jpg
    darknet-py compare my.pt darknet:/opt/darknet/libdarknet.so:my.cfg,my.weights --json

A and B are each one of
    MODEL[,WEIGHTS]              a cfg, a .pt or .safetensors checkpoint, or a name of the catalogue
    FILE.onnx                    run by ONNX Runtime: its heads, and the boxes
    opencv:MODEL[,WEIGHTS]       OpenCV 4 reading the cfg
    darknet:[LIBRARY:]MODEL[,WEIGHTS]   a libdarknet.so of AlexeyAB's or pjreddie's code; the system's without LIBRARY

Both get the same input. A layer's difference is the largest absolute one over the rms of A's output. Exit status
1 where something differs."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from .._table import format_table

if TYPE_CHECKING:
    from ..compare.report import Report, Row


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("a", metavar="A")
    parser.add_argument("b", metavar="B")
    parser.add_argument("--image", help="what to look at; without any, noise (which shows no objects)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (0)")
    parser.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help="input instead of A's")
    parser.add_argument("--tolerance", type=float, default=1e-4, metavar="T", help="difference that passes (1e-4)")
    parser.add_argument(
        "--dialect", choices=["alexeyab", "pjreddie"], help="by whose rules to read; by default the other side's"
    )
    parser.add_argument("--conf", type=float, default=0.25, metavar="P", help="lowest probability of a box (0.25)")
    parser.add_argument("--iou", type=float, default=0.45, metavar="T", help="overlap that suppresses; 0: never (0.45)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Compare and print."""
    from ..compare.report import compare
    from ..images.sources import expand_sources

    report = compare(
        args.a,
        args.b,
        image=expand_sources([args.image])[0] if args.image else None,
        seed=args.seed,
        size=tuple(args.size) if args.size else None,
        tolerance=args.tolerance,
        dialect=args.dialect,
        threshold=args.conf,
        nms=args.iou,
    )
    print(json.dumps(report.to_dict(), indent=2) if args.json else "\n".join(_lines(report)))
    return 0 if report.same else 1


def _lines(report: Report) -> list[str]:
    """The report as text."""
    lines = [f"A      {report.a}", f"B      {report.b}", f"input  {report.input}", ""]
    shown = [row for row in report.rows if row.difference is not None or row is report.first]
    lines += format_table([_cells(row, report) for row in shown], "><><")
    if shown:
        lines.append("")
    apart = [row.difference for row in shown if row.difference is not None]
    if report.first is not None:
        lines.append(f"layers: the first that differs is {report.first.number} [{report.first.section}]")
        lines += [f"  {cause}" for cause in report.causes]
    elif apart:
        lines.append(f"layers: {len(apart)} of {len(report.rows)} compared, none beyond {report.tolerance:g}")
    if report.stored:
        numbers = ", ".join(map(str, report.stored[:20])) + (", ..." if len(report.stored) > 20 else "")
        lines.append(f"weights: not the same numbers in layers {numbers}")
    if report.boxes is not None:
        boxes = report.boxes
        lines.append(f"boxes: {boxes.a} in A, {boxes.b} in B, {boxes.twins} with a twin" + _apart(report))
    return [*lines, "the same" if report.same else "not the same"]


def _cells(row: Row, report: Report) -> tuple[str, ...]:
    shape = " x ".join(map(str, (*row.shape[:0:-1], *row.shape[:1])))
    mark = f"<-- the first beyond {report.tolerance:g}" if row is report.first else ""
    apart = "not in both" if row.difference is None else f"{row.difference:.1e}"
    return str(row.number), row.section, shape, apart, mark


def _apart(report: Report) -> str:
    boxes = report.boxes
    if boxes is None or not boxes.a + boxes.b:
        return ""
    text = f"; at most {boxes.pixels:.3f} pixels and {boxes.confidence:.5f} in confidence apart" if boxes.twins else ""
    return text + (f"; {boxes.beside} beside the threshold" if boxes.beside else "")
