"""Shared by the verbs that split a data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .. import _options, _output
from . import _writing

if TYPE_CHECKING:
    from ...data.dataset import Dataset

VALID = 0.2  # of the images


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a split."""
    _options.add(parser, "--valid-fraction", default=VALID)
    _options.add(parser, "--seed", default=0)


def split(args: argparse.Namespace, dataset: Dataset, fractions: Mapping[str, float]) -> dict[str, Dataset]:
    """Split a data set with its near-duplicates in one list, and print how many there are."""
    from ...data.duplicates import find_near_duplicates
    from ...data.splitting import split_dataset

    def progress(images: Iterable[str]) -> Iterable[str]:
        return _output.progress_bar(images, len(dataset), quiet=args.quiet)

    similar = find_near_duplicates([sample.image for sample in dataset], progress=progress)
    _writing.print_problems(similar.problems)
    if similar.groups and not args.quiet:
        count = sum(map(len, similar.groups))
        text = f"{count} images are near-duplicates in {len(similar.groups)} groups, each in one list"
        print(f"darknet-py: {text} (see: darknet-py data duplicates)", file=sys.stderr)
    return split_dataset(dataset, fractions, groups=similar.group_of, seed=args.seed)
