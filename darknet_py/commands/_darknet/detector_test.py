"""Detect objects in images: ``detector test``, ``detect``, ``yolo test`` and ``coco test``."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...files import OutputError, atomic_write, check_outputs
from .. import _model, _output
from . import function, network_loader, read_data

if TYPE_CHECKING:
    from ..._typing import StrPath
    from ...data.class_names import ClassNames
    from ...loading import NetworkLoader

_FLAGS = "-thresh -hier -nms -ext_output -out -save_labels -letter_box -max_pixels"
COCO_NAMES = "data/coco.names"
VOC = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


@function("detector test", "data cfg weights image?", _FLAGS)
def run_detector_test(args: argparse.Namespace) -> int:
    """Detect objects in images: detector test DATA CFG WEIGHTS IMAGE -thresh 0.25 -ext_output -out FILE.

    Without IMAGE, paths are read from stdin, one per line. The image with boxes is written to predictions.jpg.
    """
    options = read_data(args)
    return detect(args, network_loader(args), options.get_path("names") if "names" in options.values else None)


@function("detect", "cfg weights image?", _FLAGS, thresh=0.24)
def run_detect(args: argparse.Namespace) -> int:
    """Detect objects in images: detect CFG WEIGHTS IMAGE -thresh 0.24, with the names of COCO's classes."""
    loader = network_loader(args)
    return detect(args, loader, _model.matching_names(coco_names(), loader.network))


@function("yolo test", "cfg weights image?", _FLAGS, thresh=0.2, nms=0.4)
def run_yolo_test(args: argparse.Namespace) -> int:
    """Detect objects in images with a network for VOC: yolo test CFG WEIGHTS IMAGE -thresh 0.2."""
    loader = network_loader(args)
    return detect(args, loader, _model.matching_names(VOC, loader.network))


@function("coco test", "cfg weights image?", _FLAGS, thresh=0.2, nms=0.4)
def run_coco_test(args: argparse.Namespace) -> int:
    """Detect objects in images with a network for COCO: coco test CFG WEIGHTS IMAGE -thresh 0.2."""
    loader = network_loader(args)
    return detect(args, loader, _model.matching_names(coco_names(), loader.network))


def coco_names() -> StrPath | None:
    """The file of COCO's class names that Darknet reads, or the catalogue's."""
    from ...hub import catalogue

    return COCO_NAMES if os.path.isfile(COCO_NAMES) else catalogue.names_path("yolov4-tiny")


def detect(args: argparse.Namespace, loader: NetworkLoader, names: ClassNames) -> int:
    """Detect objects in one image or in those that stdin lists, and print Darknet's lines."""
    from ...data import labels
    from ...detector import Detector

    detector = Detector(
        loader,
        names=names,
        threshold=args.thresh,
        nms=args.nms,
        hierarchy=args.hier,
        letterbox=True if args.letter_box else None,
        max_pixels=args.max_pixels,
    )
    errors = _output.ErrorLog()
    images = [args.image] if args.image else read_paths()
    with _output.ResultWriter(None, None, None, args.out) as writer:
        for result in detector.stream(images, workers=0, on_error=errors.add):
            print(f"{result.path}: Predicted in {result.speed['inference']:f} milli-seconds.")
            text = result.to_text(coordinates=args.ext_output)
            if text:
                print(text, flush=True)
            check_outputs([args.out], labels.images_and_labels([result.path]))
            result.save("predictions.jpg")
            writer.add(result)
            if args.save_labels:
                _save_label(labels.label_path(result.path), result.to_txt())
    return errors.status()


def _save_label(path: str, text: str) -> None:
    """Write a label file, but do not replace one with another content, which may be the ground truth."""
    if os.path.exists(path) and pathlib.Path(path).read_text(encoding="utf-8", errors="replace") != text:
        raise OutputError(f"{path}: has other labels, perhaps the ground truth: remove it first to get the detections")
    with atomic_write(path, "w") as file:
        file.write(text)


def read_paths() -> Iterator[str]:
    """Yield paths from stdin, with Darknet's prompt if that is a terminal."""
    while True:
        if sys.stdin.isatty():
            print("Enter Image Path: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()
