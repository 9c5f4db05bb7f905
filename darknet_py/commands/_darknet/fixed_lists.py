"""``yolo`` and ``coco``: detectors whose lists of images Darknet's source names; a word after WEIGHTS names another.

The paths are those of AlexeyAB's fork. Without the list a line is an error that names it.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from ...errors import DataError
from .. import _model, _training
from . import function, load_network
from .detector_data import print_recall
from .detector_test import VOC, coco_names
from .training import TRAIN_FLAGS, pjreddie_lines

if TYPE_CHECKING:
    from ...data.dataset import Dataset

_TRAIN = {"yolo train": "data/voc/train.txt", "coco train": "data/coco.trainval.txt"}
_VALID = {"yolo valid": "data/voc/2007_test.txt", "coco valid": "data/coco_val_5k.list"}
_RECALL = {"yolo recall": "data/voc.2007.test", "coco recall": "data/voc/test/2007_test.txt"}
_MIN_SCORE = {"yolo valid": 0.001, "coco valid": 0.01}
_NMS = 0.5  # IoU threshold of valid


def _find_list(args: argparse.Namespace, name: str, default: str) -> str:
    path: str = args.list or default
    if not os.path.exists(path):
        raise DataError(
            f"{name}: {path}: no such list, whose name is fixed in Darknet: name another after WEIGHTS, or "
            f"use darknet-py detector {name.split()[1]} DATA CFG WEIGHTS"
        )
    return path


def _load_list(args: argparse.Namespace, name: str, default: str) -> Dataset:
    from ...data.dataset import load_image_list
    from ...text_files import read_list

    path = _find_list(args, name, default)
    return load_image_list(read_list(path), source=path)


def _add_train(name: str, path: str) -> None:
    @function(name, "cfg weights? list?", f"{TRAIN_FLAGS} -max_pixels")
    def run_train(args: argparse.Namespace) -> int:
        data = _load_list(args, name, path)
        return _training.run_darknet_command(
            args, data, validate=False, max_pixels=args.max_pixels, line_printer=pjreddie_lines
        )

    run_train.__doc__ = f"""Train a detector: {name} CFG WEIGHTS LIST.

    The list of images is {path}. Files are written into backup/."""


def _add_valid(name: str, path: str) -> None:
    @function(name, "cfg weights list?", "-max_pixels")
    def run_valid(args: argparse.Namespace) -> int:
        from ...evaluation.valid import write_list_results

        images = _find_list(args, name, path)
        network = load_network(args)
        is_coco = name == "coco valid"
        files = write_list_results(
            network,
            images,
            _model.matching_names(coco_names() if is_coco else VOC, network),
            "coco" if is_coco else "voc",
            threshold=_MIN_SCORE[name],
            nms=_NMS,
            max_pixels=args.max_pixels,
        )
        for file in files:
            print(file)
        return 0

    run_valid.__doc__ = f"""Write detections as result files into results/: {name} CFG WEIGHTS LIST.

    The list of images is {path}. Pixels are counted from 0, NMS is at an IoU of 0.5."""


def _add_recall(name: str, path: str) -> None:
    @function(name, "cfg weights list?", "-max_pixels")
    def run_recall(args: argparse.Namespace) -> int:
        return print_recall(args, load_network(args), _load_list(args, name, path), nms=0)

    run_recall.__doc__ = f"""Compute class-agnostic recall: {name} CFG WEIGHTS LIST.

    The list of images is {path}. Prints the recall so far after each image to stderr. There is no NMS."""


for _add, _lists in ((_add_train, _TRAIN), (_add_valid, _VALID), (_add_recall, _RECALL)):
    for _name, _path in _lists.items():
        _add(_name, _path)
