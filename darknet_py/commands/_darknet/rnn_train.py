"""Train a character-level language model: ``rnn train CFG WEIGHTS -file shakespeare.txt -clear``.

Darknet's last versions run this without changing the weights; here it trains. Files are written into backup/."""

from __future__ import annotations

import argparse

from .. import _training


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("cfg", metavar="CFG")
    parser.add_argument("weights", metavar="WEIGHTS", nargs="?")
    parser.add_argument("-file", default="data/shakespeare.txt", metavar="TEXT", help="the text to train on")
    parser.add_argument("-i", type=int, metavar="GPU", help="number of the GPU; -1: the CPU; by default the fastest")
    _training.add_darknet_options(parser)


def run(args: argparse.Namespace) -> int:
    """Train."""
    from ...training.text_batches import TextFile

    return _training.run_darknet_command(args, TextFile(args.file))
