"""Data sets: check, convert, split, view, find duplicates, annotate.

    darknet-py data convert voc/ yolo --to darknet
    darknet-py data stats yolo yolov4-tiny --output stats
    darknet-py data annotate yolov4-tiny photos/ --to label-studio --output tasks

DATA is a data set in any format that is read: Darknet's .data file, a list or folder of images with label files,
data.yaml of Ultralytics and Roboflow, COCO's JSON, a folder of Pascal VOC, CVAT's annotations.xml, a folder of
LabelMe's JSON files, or Label Studio's JSON; or the folder that contains one. Data sets are written into new folders,
with their images; nothing is replaced."""

from __future__ import annotations

import argparse

from . import _data, _verbs


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of data sets."""
    _verbs.add_verbs(parser, _data)


def run(args: argparse.Namespace) -> int:
    """Run a verb; each of them sets ``run``, so that this is for none."""
    raise NotImplementedError
