"""Learn to go on with a text: ``rnn train CFG WEIGHTS -file shakespeare.txt -clear``.

Darknet's last versions run this without changing the weights; here it trains. Files go into backup/."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .. import _training

if TYPE_CHECKING:
    from ...network import Network
    from ...training.distributed import ProcessGroup
    from ...training.trainer import Data


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("cfg", metavar="CFG")
    parser.add_argument("weights", metavar="WEIGHTS", nargs="?")
    parser.add_argument("-file", default="data/shakespeare.txt", metavar="TEXT", help="what is learnt")
    parser.add_argument("-i", type=int, metavar="GPU", help="number of the GPU; -1: the CPU; by default the fastest")
    _training.darknet_options(parser)


def run(args: argparse.Namespace) -> int:
    """Train."""

    def batches(network: Network, team: ProcessGroup) -> Data:
        from ...training.text_batches import TextBatches

        return TextBatches(network, args.file, rank=team.rank, world=team.world)

    return _training.darknet(args, batches)
