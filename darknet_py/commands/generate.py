"""Generate text with a character-level language model.

    darknet-py generate my.cfg my.weights --start "To be" --length 500

Prints each character as soon as it is sampled. The same arguments give the same text."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from . import _model, _options

if TYPE_CHECKING:
    from ..network import Network


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _options.add_model(parser)
    parser.add_argument("--start", default="\n\n", metavar="TEXT", help="text to continue (default: two newlines)")
    parser.add_argument("--length", type=int, default=1000, metavar="N", help="characters to generate (default: 1000)")
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.7,
        metavar="T",
        help="sampling temperature; 0: always the most probable character (default: 0.7)",
    )
    _options.add(parser, "--seed", default=0)


def run(args: argparse.Namespace) -> int:
    """Generate text."""
    network = _model.load_network(args, _model.find_files(args))
    return write_text(network, args.start, args.length, args.temperature, args.seed)


def write_text(network: Network, start: str, length: int, temperature: float, seed: int) -> int:
    """Write generated characters to stdout as they come; invalid UTF-8 is replaced."""
    from ..generate import generate_text

    return write_pieces(generate_text(network, start=start.encode(), length=length, temperature=temperature, seed=seed))


def write_pieces(pieces: Iterable[bytes]) -> int:
    """Write characters to stdout as they come, and a line end; invalid UTF-8 is replaced."""
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        sys.stdout.write(decoder.decode(piece))
        sys.stdout.flush()
    sys.stdout.write(decoder.decode(b"", final=True) + "\n")
    return 0
