"""Detectors on data sets: ``detector map``, ``recall``, ``valid``, ``valid2`` and ``calc_anchors``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from .. import _output
from . import function, load_network, network_loader, read_data

if TYPE_CHECKING:
    from ...data.dataset import Dataset
    from ...network import Network


@function("detector map", "data cfg weights", "-thresh -iou_thresh -points -max_pixels")
def run_map(args: argparse.Namespace) -> int:
    """Compute mAP: detector map DATA CFG WEIGHTS -points 11 -iou_thresh 0.5.

    ``-letter_box`` has no effect, as in Darknet: [net] letter_box= decides.
    """
    from ...evaluation.evaluator import evaluate

    evaluation = evaluate(
        network_loader(args),
        args.data,
        threshold=args.thresh,
        match_iou=args.iou_thresh,
        points=args.points,
        max_pixels=args.max_pixels,
    )
    print(evaluation.to_darknet_text())
    return 0


@function("detector recall", "data cfg weights", "-max_pixels")
def run_recall(args: argparse.Namespace) -> int:
    """Compute class-agnostic recall: detector recall DATA CFG WEIGHTS.

    Prints the recall so far after each image to stderr, as Darknet does.
    """
    from ...data.formats import load_dataset
    from ...postprocess import require_heads

    network = load_network(args)
    classes = require_heads(network)[-1].classes
    return print_recall(args, network, load_dataset(args.data, "valid", classes=classes), nms=0.4)


def print_recall(args: argparse.Namespace, network: Network, dataset: Dataset, *, nms: float) -> int:
    """Print the recall on a data set to stderr."""
    from ...evaluation.recall import recall_lines

    errors = _output.ErrorLog()
    for line in recall_lines(network, dataset, nms=nms, on_error=errors.add, max_pixels=args.max_pixels):
        print(line, file=sys.stderr, flush=True)
    return errors.status()


@function("detector valid", "data cfg weights", "-out -max_pixels")
def run_valid(args: argparse.Namespace) -> int:
    """Write the detections of the valid list as result files: detector valid DATA CFG WEIGHTS -out NAME.

    ``eval=`` of DATA is the format, ``results=`` the folder. ``map=`` of DATA is a file of class numbers: only these
    classes of the class tree are reported, as in combine9k.data for YOLO9000.
    """
    from ...evaluation.valid import write_valid_results

    network = load_network(args)
    for path in write_valid_results(network, args.data, out=args.out or "", max_pixels=args.max_pixels):
        print(path)
    return 0


@function("detector valid2", "data cfg weights", "-out -max_pixels")
def run_valid2(args: argparse.Namespace) -> int:
    """Write detections in the mean of the maps for an image and its mirror image: detector valid2 DATA CFG WEIGHTS.

    Otherwise as ``detector valid`` of pjreddie's fork, which has this function: it crashes there, or negates what it
    should mirror.
    """
    from ...evaluation.valid import write_valid_results

    network = load_network(args, dialect="pjreddie")
    for path in write_valid_results(network, args.data, out=args.out or "", max_pixels=args.max_pixels, mirrored=True):
        print(path)
    return 0


@function("detector calc_anchors", "data", "-num_of_clusters -width -height")
def run_calc_anchors(args: argparse.Namespace) -> int:
    """Compute anchors: detector calc_anchors DATA -num_of_clusters 9 -width 416 -height 416.

    Prints the anchors as Darknet does, and writes anchors.txt and counters_per_class.txt. ``darknet-py anchors``
    computes better ones and writes them into a cfg.
    """
    from ...data import anchors
    from ...data.formats import load_dataset

    classes = read_data(args).get_int("classes", 1)
    dataset = load_dataset(args.data, "train")
    for line in anchors.calc_anchors(dataset, args.num_of_clusters, args.width, args.height, classes=classes):
        print(line)
    return 0


@function("detector calcanchors", "data", "-num_of_clusters -width -height", num_of_clusters=6, width=416, height=416)
def run_calcanchors(args: argparse.Namespace) -> int:
    """Compute anchors, in hank-ai's spelling and with its defaults: see detector calc_anchors."""
    return run_calc_anchors(args)
