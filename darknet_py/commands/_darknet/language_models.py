"""Character-level language models: ``rnn generate``, ``valid``, ``vec``, and what is like them for lines of tactics."""

from __future__ import annotations

import argparse
import sys

from . import function, load_network


@function("rnn generate", "cfg weights", "-seed -len -temp -srand")
def run_generate(args: argparse.Namespace) -> int:
    """Generate text: rnn generate CFG WEIGHTS -seed TEXT -len 1000 -temp 0.7 -srand 0."""
    from ..generate import write_text

    return write_text(load_network(args), args.seed, args.len, args.temp, args.srand)


@function("rnn generatetactic", "cfg weights", "-len -temp -srand")
def run_generate_tactic(args: argparse.Namespace) -> int:
    """Continue a text on stdin: rnn generatetactic CFG WEIGHTS -len 1000 -temp 0.7 < FILE.

    Prints the new characters only, and ends before a line end that follows a full stop.
    """
    from ...generate import continue_text
    from ..generate import write_pieces

    text = sys.stdin.buffer.read()
    network = load_network(args)
    return write_pieces(continue_text(network, text, length=args.len, temperature=args.temp, seed=args.srand))


@function("rnn valid", "cfg weights", "-seed")
def run_valid(args: argparse.Namespace) -> int:
    """Compute the perplexity of a text on stdin: rnn valid CFG WEIGHTS -seed TEXT < FILE.

    Prints bits per character, perplexity and perplexity per word so far after each character.
    """
    from ...generate import perplexity

    for score in perplexity(load_network(args), args.seed.encode(), sys.stdin.buffer.read()):
        print(score, flush=True)
    return 0


@function("rnn validtactic", "cfg weights", "-seed")
def run_valid_tactic(args: argparse.Namespace) -> int:
    """Compute the perplexity of what follows >> in each line of a text: rnn validtactic CFG WEIGHTS -seed TEXT < FILE.

    Such a part ends at a full stop at the end of a line. Prints the characters and parts so far, perplexity, and
    perplexity per part.
    """
    from ...generate import tactic_perplexity

    for score in tactic_perplexity(load_network(args), args.seed.encode(), sys.stdin.buffer.read()):
        print(score, flush=True)
    return 0


@function("rnn vec", "cfg weights", "-seed")
def run_vec(args: argparse.Namespace) -> int:
    """Print the first layer's output after each line on stdin and a blank: rnn vec CFG WEIGHTS -seed TEXT < FILE.

    Prints the line without blanks and the values, separated by commas. A line starts from an empty state, as in
    Darknet's CUDA build.
    """
    from ...generate import line_vectors

    network = load_network(args)
    for line, values in line_vectors(network, args.seed.encode(), sys.stdin.buffer):
        print(",".join([line.decode(errors="replace"), *(f"{value:g}" for value in values)]), flush=True)
    return 0
