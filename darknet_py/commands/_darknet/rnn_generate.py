"""Go on with a text: ``rnn generate CFG WEIGHTS -seed TEXT -len 1000 -temp 0.7``."""

from __future__ import annotations

import argparse

from . import load


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("cfg", metavar="CFG")
    parser.add_argument("weights", metavar="WEIGHTS")
    parser.add_argument("-seed", default="\n\n", metavar="TEXT", help="what it goes on with (two line ends)")
    parser.add_argument("-len", type=int, default=1000, metavar="N", help="characters to write (1000)")
    parser.add_argument("-temp", type=float, default=0.7, metavar="T", help="0: dull, 1: as learnt (0.7)")
    parser.add_argument("-srand", type=int, default=0, metavar="N", help="seed of the choice (0)")
    parser.add_argument("-i", type=int, metavar="GPU", help="number of the GPU; -1: the CPU; by default the fastest")


def run(args: argparse.Namespace) -> int:
    """Write."""
    from ..generate import write

    return write(load(args), args.seed, args.len, args.temp, args.srand)
