"""Find images that are the same but for size, compression, brightness or a small movement.

    darknet-py data duplicates my.data
    darknet-py data duplicates photos/ --distance 6 --json groups.json

Prints the groups, an image a line with its list, with an empty line after each group. The images are compared by a
perceptual hash of 63 bits and by their correlation. Consecutive frames of a video are mostly near-duplicates."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from ...images.limits import MAX_PIXELS
from .. import _options, _output, _records
from . import _writing


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _writing.add_data(parser)
    parser.add_argument(
        "--distance",
        type=int,
        default=10,
        metavar="BITS",
        help="bits by which two hashes differ at most; 0: equal hashes only (default: 10)",
    )
    _options.add(parser, "--max-pixels", default=MAX_PIXELS)
    _options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Find near-duplicates and print their groups."""
    from ...data.duplicates import find_near_duplicates

    subsets = _writing.load(args)
    images: dict[str, str] = {}
    for subset, dataset in subsets.items():
        for sample in dataset:
            images.setdefault(sample.image, subset)

    def progress(paths: Iterable[str]) -> Iterable[str]:
        return _output.progress_bar(paths, len(images), quiet=args.quiet)

    similar = find_near_duplicates(list(images), distance=args.distance, max_pixels=args.max_pixels, progress=progress)
    _writing.print_problems(similar.problems)
    paths = list(images)
    groups = [[{"path": paths[index], "subset": images[paths[index]]} for index in group] for group in similar.groups]
    if args.json:
        _output.check(args, (path for dataset in subsets.values() for path in dataset.files()))
        _records.write_json(args.json, groups)
    if args.json != "-":
        for group in groups:
            print("\n".join(f"{item['subset']:6} {item['path']}" for item in group), end="\n\n")
    across = sum(len({item["subset"] for item in group}) > 1 for group in groups)
    text = f"{len(images)} images, {len(groups)} groups of near-duplicates, {across} of them in several lists"
    print(f"darknet-py: {text}", file=sys.stderr)
    return 0
