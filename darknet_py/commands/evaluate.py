"""Compute mAP over a data set.

    darknet-py evaluate yolov4-tiny coco.data
    darknet-py evaluate my.cfg my.weights data.yaml --protocol coco --plots out
    torchrun --nproc-per-node=2 -m darknet_py evaluate my.cfg my.weights data.yaml

DATA is a .data file, a list or folder of images with label files, a data.yaml, COCO's annotation JSON or a Pascal VOC
folder. Prints the average precision of each class, and mAP with its protocol: for the same detections the protocols
give different values, see --protocol. Under torchrun the processes share the images."""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import TYPE_CHECKING

from ..images.limits import MAX_PIXELS
from . import _model, _options, _output, _records, _sharding

if TYPE_CHECKING:
    from ..distributed import ProcessGroup
    from ..evaluation.scores import Evaluation
    from ..inference.exported_model import ExportedModel
    from ..loading import NetworkLoader

_BACKENDS = ("pycocotools", "faster_coco_eval")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _options.add_model(parser)
    parser.add_argument("data", metavar="DATA", help="the data set")
    _options.add(parser, "--subset", default="valid")
    _options.add(parser, "--names", note="(default: those of DATA)")
    _options.add(parser, "--polygons")
    _options.add(parser, "--map-classes")
    protocol = parser.add_argument_group("protocol")
    _options.add(protocol, "--protocol", default="darknet")
    protocol.add_argument(
        "--backend", choices=_BACKENDS, help="package that computes the coco protocol (default: the installed one)"
    )
    protocol.add_argument(
        "--points",
        type=int,
        default=0,
        metavar="N",
        help="darknet protocol: average precision over N recalls; 0: area under the curve (default: 0)",
    )
    _options.add(protocol, "--match-iou", default=0.5)
    _options.add(protocol, "--conf", note="for TP, FP, precision, recall and F1 (default: 0.25)", default=0.25)
    _options.add(parser, "--classes")
    _options.add(parser, "--skip-classes")
    boxes = parser.add_argument_group("boxes")
    _options.add(boxes, "--min-score", note="(default: 0.005; coco: 0.001)")
    _options.add(boxes, "--nms", note="(default: 0.45; coco: 0.6)")
    _options.add(boxes, "--nms-kind")
    _options.add(boxes, "--letterbox", note="(default: as the cfg says)")
    _options.add(boxes, "--exif")
    _options.add(boxes, "--max-pixels", default=MAX_PIXELS)
    _options.add(boxes, "--batch", default=8)
    _options.add_engine(boxes)
    _options.add(boxes, "--workers", default=2)
    output = parser.add_argument_group("output")
    output.add_argument("--lines", action="store_true", help="print what Darknet's `detector map` prints")
    output.add_argument(
        "--plots",
        nargs="?",
        const="evaluation",
        metavar="DIR",
        help="write curves, confusion matrix and contact sheets to a folder (default: evaluation)",
    )
    _options.add(output, "--json")
    output.add_argument("--coco-json", metavar="FILE", help="write the detections in COCO's results format")
    output.add_argument(
        "--voc", metavar="DIR", help="write the detections as VOC's comp4_det_test_CLASS.txt to a folder"
    )
    _options.add(output, "--quiet")


def run(args: argparse.Namespace) -> int:
    """Evaluate, print and write."""
    with _sharding.joined(args) as group:
        evaluation = _evaluate(args, group)
        if group.is_main:
            if args.json != "-":
                print(evaluation.to_darknet_text() if args.lines else evaluation.to_table(), flush=True)
            _write(args, evaluation)
    return 0


def _evaluate(args: argparse.Namespace, group: ProcessGroup) -> Evaluation:
    from ..evaluation.evaluator import evaluate

    network = group.compute_main_first(lambda: _load(args))
    return evaluate(
        network,
        args.data,
        protocol=args.protocol,
        subset=args.subset,
        names=args.names,
        polygons=args.polygons,
        map_classes=args.map_classes or "",
        classes=args.classes,
        skip_classes=args.skip_classes,
        threshold=args.conf,
        match_iou=args.match_iou,
        points=args.points,
        min_score=args.min_score,
        nms=args.nms,
        nms_kind=args.nms_kind,
        letterbox=args.letterbox,
        exif=bool(args.exif),
        max_pixels=args.max_pixels,
        backend=args.backend,
        batch=args.batch,
        workers=args.workers,
        engine=args.engine,
        dtype=args.dtype,
        progress=not args.quiet,
        process_group=group,
    )


def _load(args: argparse.Namespace) -> NetworkLoader | ExportedModel:
    _check_packages(args)
    return _model.load_model(args, _model.find_files(args))


def _check_packages(args: argparse.Namespace) -> None:
    """Raise DarknetError early if a package is missing."""
    from ..errors import DarknetError
    from ..evaluation import coco
    from ..figures import require_figure_class

    if args.protocol == "coco":
        try:
            coco.find_backend(args.backend)
        except ImportError as error:
            raise DarknetError(str(error)) from error
    if args.plots:
        require_figure_class()


def _write(args: argparse.Namespace, evaluation: Evaluation) -> None:
    from ..evaluation import plots, result_files

    data = evaluation.data
    _output.check(args, data.dataset.files())
    if args.json:
        _records.write_json(args.json, evaluation.to_dict())
    if args.coco_json:
        path = pathlib.Path(args.coco_json)
        result_files.write(data.dataset, data.detections, "coco", path.parent, path.stem)
    if args.voc:
        result_files.write(data.dataset, data.detections, "voc", args.voc)
    if args.plots:
        for path in plots.write(evaluation, args.plots):
            print(path, file=sys.stderr)
