"""Write text with a network that has learnt to go on with one.

    darknet-py generate shakespeare.cfg shakespeare.weights --start "To be" --length 500 --temperature 0.5

The same arguments give the same text; --seed gives another."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from . import _model

if TYPE_CHECKING:
    from ..network import Network


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _model.add(parser)
    parser.add_argument("--start", default="\n\n", metavar="TEXT", help="what it goes on with (two empty lines)")
    parser.add_argument("--length", type=int, default=1000, metavar="N", help="characters to write (1000)")
    parser.add_argument("--temperature", type=float, default=0.7, metavar="T", help="0: dull, 1: as learnt (0.7)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice (0)")


def run(args: argparse.Namespace) -> int:
    """Write to stdout, character by character."""
    network = _model.load(args, _model.found(args))
    return write(network, args.start, args.length, args.temperature, args.seed)


def write(network: Network, start: str, length: int, temperature: float, seed: int) -> int:
    """Write what ``generate`` yields; bytes that are no text are replaced."""
    import codecs

    from ..generate import generate

    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in generate(network, start=start.encode(), length=length, temperature=temperature, seed=seed):
        sys.stdout.write(decoder.decode(piece))
        sys.stdout.flush()
    sys.stdout.write(decoder.decode(b"", final=True) + "\n")
    return 0
