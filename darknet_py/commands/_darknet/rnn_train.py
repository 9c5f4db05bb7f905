"""Train a character-level language model: ``rnn train CFG WEIGHTS -file shakespeare.txt -clear``.

In Darknet's last versions this command does not change the weights; here it trains. Files are written into backup/."""

from __future__ import annotations

import argparse

from .. import _training


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("cfg", metavar="CFG", help="cfg file of the network")
    parser.add_argument("weights", metavar="WEIGHTS", nargs="?", help="weights to start from (default: random)")
    parser.add_argument(
        "-file",
        default="data/shakespeare.txt",
        metavar="FILE",
        help="text to train on (default: data/shakespeare.txt)",
    )
    parser.add_argument(
        "-i", type=int, metavar="GPU", help="GPU number; -1: the CPU (default: CUDA if available, then MPS)"
    )
    _training.add_darknet_options(parser)


def run(args: argparse.Namespace) -> int:
    """Train."""
    from ...training.text_batches import TextFile

    return _training.run_darknet_command(args, TextFile(args.file))
