"""Convert a data set to another format, with its images, into a new folder.

    darknet-py data convert voc/ yolo --to darknet
    darknet-py data convert labels.json coco --to coco --link
    darknet-py data convert KITTI/ kitti --from kitti_detection

All lists (train, valid, test) are converted. Shapes become their bounding boxes. Objects that evaluation ignores (VOC's
difficult ones, COCO's crowds) are kept in these two formats only. What cannot be converted is named on stderr.

--from reads one of the formats of Datumaro (extra `datumaro`), eighty of them, which is converted to COCO's first."""

from __future__ import annotations

import argparse
import tempfile

from ...errors import DataError
from . import _writing


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _writing.add_data(parser)
    parser.add_argument("folder", metavar="DIR", help="new folder of the data set")
    parser.add_argument("--from", dest="source_format", metavar="FORMAT", help="format of DATA by Datumaro's name")
    _writing.add_options(parser, to="darknet")


def run(args: argparse.Namespace) -> int:
    """Convert."""
    from ...data.writing import require_new_folder

    require_new_folder(args.folder)
    if args.source_format is None:
        _writing.write(args, _writing.load(args), args.folder, args.to)
        return 0
    if args.link:
        raise DataError("--link: expected no --from, with which the images are copied twice")
    from ...data.datumaro_formats import convert_to_coco

    with tempfile.TemporaryDirectory() as coco:
        convert_to_coco(args.data, args.source_format, coco)
        args.data = coco
        _writing.write(args, _writing.load(args), args.folder, args.to)
    return 0
