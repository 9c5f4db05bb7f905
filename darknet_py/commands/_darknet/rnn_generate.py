"""Generate text: ``rnn generate CFG WEIGHTS -seed TEXT -len 1000 -temp 0.7``."""

from __future__ import annotations

import argparse

from . import add_arguments, load_network


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_arguments(parser, data=False)
    parser.add_argument("-seed", default="\n\n", metavar="TEXT", help="text to continue (default: two newlines)")
    parser.add_argument("-len", type=int, default=1000, metavar="N", help="characters to generate (default: 1000)")
    parser.add_argument("-temp", type=float, default=0.7, metavar="T", help="sampling temperature (default: 0.7)")
    parser.add_argument("-srand", type=int, default=0, metavar="N", help="random seed (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Generate text."""
    from ..generate import write_text

    return write_text(load_network(args), args.seed, args.len, args.temp, args.srand)
