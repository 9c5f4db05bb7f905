"""Shared by the verbs that write a data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import _options, _output

if TYPE_CHECKING:
    from ...data.dataset import Dataset, Sample
    from ...data.labels import Problem


def add_options(parser: argparse._ActionsContainer, *, to: str | None = None) -> None:
    """Add the options of how a data set is written; ``to``: the default format."""
    _options.add(parser, "--to", default=to)
    _options.add(parser, "--link")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add DATA, and the options of how it is read."""
    parser.add_argument("data", metavar="DATA", help=_options.DATA)
    _options.add(parser, "--polygons")
    _options.add(parser, "--quiet")


def load(args: argparse.Namespace) -> dict[str, Dataset]:
    """Load all lists of DATA, and print what is wrong with them."""
    from ...data.formats import load_subsets

    subsets = load_subsets(args.data, polygons=args.polygons, progress=not args.quiet)
    print_problems(problem for dataset in subsets.values() for problem in dataset.problems)
    return subsets


def write(
    args: argparse.Namespace, subsets: Mapping[str, Dataset], folder: str, format_name: str, **options: Any
) -> None:
    """Write a data set, and print what is left out and what was written.

    ``options``: those of ``write_dataset``.
    """
    from ...data.writing import NO_IMAGE, write_dataset

    def progress(samples: Sequence[Sample]) -> Iterable[Sample]:
        return _output.progress_bar(samples, len(samples), quiet=args.quiet)

    problems = write_dataset(subsets, folder, format_name, link=args.link, progress=progress, **options)
    print_problems(problems)
    left_out = {problem.location for problem in problems if problem.kind == NO_IMAGE}
    print(f"{folder}: {describe(subsets, left_out)}")


def describe(subsets: Mapping[str, Dataset], left_out: Collection[str] = ()) -> str:
    """Describe the lists of a data set without the images ``left_out``: ``80 train and 20 valid images, 3 classes``."""
    numbers = [sum(sample.image not in left_out for sample in dataset) for dataset in subsets.values()]
    counts = " and ".join(f"{number} {subset}" for number, subset in zip(numbers, subsets, strict=True))
    classes = len(next(iter(subsets.values())).names)
    return f"{counts} image{'' if numbers == [1] else 's'}, {classes} class{'' if classes == 1 else 'es'}"


def print_problems(problems: Iterable[Problem]) -> None:
    """Print the lines of ``summarise`` to stderr."""
    from ...data.labels import summarise

    for line in summarise(problems):
        print(f"darknet-py: {line}", file=sys.stderr)
