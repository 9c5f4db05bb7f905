"""Convert a data set to another format, with its images, into a new folder.

    darknet-py data convert voc/ yolo --to darknet
    darknet-py data convert labels.json coco --to coco --link

All lists (train, valid, test) are converted. Shapes become their bounding boxes. Objects that evaluation ignores (VOC's
difficult ones, COCO's crowds) are kept in these two formats only. What cannot be converted is named on stderr."""

from __future__ import annotations

import argparse

from . import _writing


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _writing.add_data(parser)
    parser.add_argument("folder", metavar="DIR", help="new folder of the data set")
    _writing.add_options(parser, to="darknet")


def run(args: argparse.Namespace) -> int:
    """Convert."""
    from ...data.writing import require_new_folder

    require_new_folder(args.folder)
    _writing.write(args, _writing.load(args), args.folder, args.to)
    return 0
