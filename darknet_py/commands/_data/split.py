"""Split a data set into training, validation and test images, into a new folder.

    darknet-py data split photos/ digits --valid-fraction 0.2 --test-fraction 0.1 --to ultralytics

All lists of DATA are split again. Every list gets its share of the images of each class. Near-duplicates (see:
darknet-py data duplicates) stay in one list, as a network would know the validation images otherwise. The same
seed gives the same lists."""

from __future__ import annotations

import argparse

from . import _splitting, _writing


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _writing.add_data(parser)
    parser.add_argument("folder", metavar="DIR", help="new folder of the data set")
    _splitting.add_options(parser)
    parser.add_argument(
        "--test-fraction", type=float, default=0.0, metavar="P", help="fraction of the images for a test (default: 0)"
    )
    _writing.add_options(parser, to="darknet")


def run(args: argparse.Namespace) -> int:
    """Split."""
    from ...data.subsets import merge_datasets
    from ...data.writing import require_new_folder

    require_new_folder(args.folder)
    dataset = merge_datasets(list(_writing.load(args).values()), args.data)
    valid, test = args.valid_fraction, args.test_fraction
    fractions = {"train": 1 - valid - test, "valid": valid, "test": test}
    used = {subset: fraction for subset, fraction in fractions.items() if fraction or subset == "train"}
    _writing.write(args, _splitting.split(args, dataset, used), args.folder, args.to)
    return 0
