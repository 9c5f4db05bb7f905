"""Get weights and images of the catalogue into the cache.

Downloads are verified by size and SHA-256 and go on where they broke off. The cache is
$DARKNET_PY_HOME, or darknet_py in the user's folder for caches."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="what to get, by its name in the catalogue")
    parser.add_argument("--list", action="store_true", help="show the catalogue and what is here already")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Fetch each name and print where it lies."""
    from .._table import format_table
    from ..hub import catalogue

    if args.list or not args.names:
        rows = [("NAME", "KIND", "CFG", "SIZE", "WHERE"), *catalogue.rows()]
        print("\n".join(format_table(rows, "<")))
        return 0
    for name in args.names:
        print(catalogue.fetch(name, progress=not args.quiet))
    return 0
