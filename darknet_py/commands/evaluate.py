"""Count a network's mean average precision on a data set.

    darknet-py evaluate yolov4-tiny coco.data
    darknet-py evaluate my.cfg my.weights data.yaml --protocol coco --plots report --json scores.json

DATA is a .data file, a list or folder of images with label files, a data.yaml, COCO's annotation JSON or a
Pascal VOC folder. Prints a row a class and the number with the rule that it was counted by: three rules give
three numbers for the same boxes, see --protocol."""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import TYPE_CHECKING

from . import _model, _output

if TYPE_CHECKING:
    from ..evaluation.scores import Evaluation

_PROTOCOLS = ("darknet", "voc07", "coco")
_BACKENDS = ("pycocotools", "faster_coco_eval")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _model.add(parser)
    parser.add_argument("data", metavar="DATA", help="the data set")
    parser.add_argument("--subset", default="valid", help="which of DATA's lists: valid, train, test (valid)")
    parser.add_argument("--names", help="file of class names instead of DATA's")
    rule = parser.add_argument_group("rule")
    rule.add_argument("--protocol", choices=_PROTOCOLS, default="darknet", help="whose (darknet)")
    rule.add_argument("--backend", choices=_BACKENDS, help="coco: who counts (what is installed)")
    rule.add_argument("--points", type=int, default=0, metavar="N", help="darknet: mean over N recalls, 0: area (0)")
    rule.add_argument("--iou", type=float, default=0.5, metavar="T", help="overlap at which an object is found (0.5)")
    rule.add_argument("--conf", type=float, default=0.25, metavar="P", help="confidence for TP, FP and F1 (0.25)")
    boxes = parser.add_argument_group("boxes")
    boxes.add_argument("--least", type=float, metavar="P", help="confidence that counts for mAP (0.005; coco 0.001)")
    boxes.add_argument("--nms", type=float, metavar="T", help="overlap that suppresses; 0: never (0.45; coco 0.6)")
    boxes.add_argument(
        "--letterbox", action=argparse.BooleanOptionalAction, help="keep the images' aspect, or stretch them"
    )
    boxes.add_argument("--batch", type=int, default=8, metavar="N", help="images in the network at once (8)")
    _model.add_engine(boxes)
    boxes.add_argument("--workers", type=int, default=2, metavar="N", help="threads that read images (2)")
    output = parser.add_argument_group("output")
    output.add_argument("--lines", action="store_true", help="print what Darknet's `detector map` prints")
    output.add_argument(
        "--plots", nargs="?", const="evaluation", metavar="DIR", help="write curves, matrix and sheets (evaluation)"
    )
    output.add_argument("--json", metavar="FILE", help="write the scores as JSON, - for stdout instead of the table")
    output.add_argument("--coco-json", metavar="FILE", help="write the boxes in COCO's results format")
    output.add_argument("--voc", metavar="DIR", help="write the boxes as VOC's comp4_det_test_CLASS.txt")
    output.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    """Evaluate, print and write."""
    from ..evaluation.evaluator import evaluate

    _available(args)
    network = _model.load(args, _model.found(args))
    evaluation = evaluate(
        network,
        args.data,
        protocol=args.protocol,
        subset=args.subset,
        names=args.names,
        threshold=args.conf,
        match_iou=args.iou,
        points=args.points,
        min_score=args.least,
        nms=args.nms,
        letterbox=args.letterbox,
        backend=args.backend,
        batch=args.batch,
        workers=args.workers,
        engine=args.engine,
        dtype=args.dtype,
        progress=not args.quiet,
    )
    if args.json != "-":
        print(evaluation.to_darknet_text() if args.lines else evaluation.to_table(), flush=True)
    _write(args, evaluation)
    return 0


def _available(args: argparse.Namespace) -> None:
    """Refuse before the work what needs a package that is not there."""
    from ..errors import DarknetError
    from ..evaluation import coco, plots

    try:
        if args.protocol == "coco":
            coco.find_backend(args.backend)
        if args.plots:
            plots.figure_class()
    except ImportError as error:
        raise DarknetError(str(error)) from error


def _write(args: argparse.Namespace, evaluation: Evaluation) -> None:
    from ..evaluation import plots, result_files

    data = evaluation.data
    if args.json:
        _output.write_json(args.json, evaluation.to_dict())
    if args.coco_json:
        path = pathlib.Path(args.coco_json)
        result_files.write(data.dataset, data.detections, "coco", path.parent, path.stem)
    if args.voc:
        result_files.write(data.dataset, data.detections, "voc", args.voc)
    if args.plots:
        for path in plots.write(evaluation, args.plots):
            print(path, file=sys.stderr)
