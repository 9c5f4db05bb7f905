#!/usr/bin/env python3
"""Report over a folder of cfgs and weights from anywhere: which build, which are refused and why, which weights fit.

    python -m tools.wild FOLDER [--run] [--dialect pjreddie]

Every .cfg below the folder is read; weights are those of the same name in the same folder. With --run an image of zeros
goes through each network, at a smaller size where its layers allow one.
"""

from __future__ import annotations

import argparse
import collections
import pathlib
import sys
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch

from darknet_py import cfg, weights
from darknet_py.cfg import Dialect
from darknet_py.errors import DarknetError
from darknet_py.network import Network
from tools.export_table import shrink


class Outcome(NamedTuple):
    """What became of a cfg.

    Attributes:
        path: the cfg.
        status: "accepted", "refused", "fits" (accepted, and the weights fit to the byte), "does not fit" or
            "does not run".
        text: layers and notes, or the reason.
    """

    path: pathlib.Path
    status: str
    text: str


def examine(path: pathlib.Path, dialect: str = Dialect.ALEXEYAB, run: bool = False) -> Outcome:
    """Build the network of a cfg, run it if ``run``, and load the weights beside it."""
    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            network = Network(cfg.load(path), dialect=dialect)
    except DarknetError as error:
        return Outcome(path, "refused", str(error))
    text = f"{len(network.layers)} layers, {len(notes)} notes"
    if run:
        try:
            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                small = shrink(network).initialise().eval()
                small(torch.zeros(1, *small.shape))
        except (DarknetError, RuntimeError) as error:
            return Outcome(path, "does not run", str(error))
        text += f", runs at {small.shape.width} x {small.shape.height}"
    file = path.with_suffix(".weights")
    if not file.is_file():
        return Outcome(path, "accepted", text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            weights.load(network, file)
    except DarknetError as error:
        return Outcome(path, "does not fit", str(error))
    return Outcome(path, "fits", text)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each cfg and the sums; return 1 if a file is refused or does not fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--run", action="store_true", help="run each network on an image of zeros")
    parser.add_argument("--dialect", choices=list(Dialect), default=Dialect.ALEXEYAB)
    args = parser.parse_args(argv)
    counts: collections.Counter[str] = collections.Counter()
    for path in sorted(args.folder.rglob("*.cfg")):
        outcome = examine(path, args.dialect, args.run)
        counts[outcome.status] += 1
        print(f"{outcome.status:<13}{path.relative_to(args.folder)}: {outcome.text}")
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no cfgs")
    return 1 if counts["refused"] or counts["does not fit"] or counts["does not run"] else 0


if __name__ == "__main__":
    sys.exit(main())
