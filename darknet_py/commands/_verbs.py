"""Verbs: modules of a package with ``configure(parser)`` and ``run(args)``, as subcommands of a parser."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import TypeAlias

from ._help import HelpFormatter

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def find_verbs(package: ModuleType) -> dict[str, ModuleType]:
    """Return the modules of a package without a leading underscore, by the names of their verbs."""
    names = sorted(module.name for module in iter_modules(package.__path__) if not module.name.startswith("_"))
    return {name.replace("_", "-"): import_module(f"{package.__name__}.{name}") for name in names}


def add_verbs(parser: argparse.ArgumentParser, package: ModuleType, *, without: Collection[str] = ()) -> Subparsers:
    """Add a subcommand for each verb of a package but ``without``; the first line of its docstring is its help."""
    subparsers: Subparsers = parser.add_subparsers(metavar="VERB", required=True)
    for name, module in find_verbs(package).items():
        if name in without:
            continue
        text = module.__doc__ or ""
        sub = subparsers.add_parser(
            name,
            help=text.partition("\n")[0].replace("`", "").rstrip("."),
            description=text.replace("``", ""),
            formatter_class=HelpFormatter,
        )
        sub.set_defaults(run=module.run, parser=sub)
        module.configure(sub)
    return subparsers
