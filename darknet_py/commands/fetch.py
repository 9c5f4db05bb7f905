"""Download weights and images of the catalogue.

Files are stored in $DARKNET_PY_HOME, by default darknet_py in the user's cache folder. Downloads are verified by size
and SHA-256, and interrupted ones are resumed. Prints the path of each file, and for one that must be
downloaded manually its address. Without NAME the catalogue is listed."""

from __future__ import annotations

import argparse

from . import _options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="name in the catalogue")
    parser.add_argument("--list", action="store_true", help="list the catalogue, and which files are present")
    _options.add(parser, "--quiet")


def run(args: argparse.Namespace) -> int:
    """Download each file and print its path, or list the catalogue."""
    from .._table import format_table
    from ..hub import catalogue

    if args.list or not args.names:
        rows = [("NAME", "KIND", "SIZE", "FILE"), *catalogue.rows()]
        print("\n".join(format_table(rows, "<")))
        return 0
    for name in args.names:
        print(catalogue.fetch(name, progress=not args.quiet))
    return 0
