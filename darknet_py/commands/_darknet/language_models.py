"""Character-level language models: ``rnn generate`` and ``rnn valid``."""

from __future__ import annotations

import argparse
import sys

from . import function, load_network


@function("rnn generate", "cfg weights", "-seed -len -temp -srand")
def run_generate(args: argparse.Namespace) -> int:
    """Generate text: rnn generate CFG WEIGHTS -seed TEXT -len 1000 -temp 0.7 -srand 0."""
    from ..generate import write_text

    return write_text(load_network(args), args.seed, args.len, args.temp, args.srand)


@function("rnn valid", "cfg weights", "-seed")
def run_valid(args: argparse.Namespace) -> int:
    """Compute the perplexity of a text on stdin: rnn valid CFG WEIGHTS -seed TEXT < FILE.

    Prints bits per character, perplexity and perplexity per word so far after each character.
    """
    from ...generate import perplexity

    for score in perplexity(load_network(args), args.seed.encode(), sys.stdin.buffer.read()):
        print(score, flush=True)
    return 0
