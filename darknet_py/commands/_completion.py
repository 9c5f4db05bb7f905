"""Shell completion: the script that completes verbs, Darknet's functions, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from ..errors import DarknetError

SHELLS = ("bash", "zsh", "tcsh", "fish", "powershell")
_PATHS = {"CFG", "DATA", "DIR", "FILE", "LIBRARY", "MAP", "TEXT"}  # placeholders of options whose value may be a path


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script of a parser for a shell of ``SHELLS``. Raises DarknetError without shtab."""
    try:
        import shtab
    except ImportError as error:
        raise DarknetError("shell completion needs shtab: pip install 'darknet-torch[completion]'") from error
    for action in _actions(parser):
        is_path = action.metavar in _PATHS if action.option_strings else action.choices is None
        if is_path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell=shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _actions(sub)
        else:
            yield action
