"""Darknet's command lines, ``./darknet COMMAND FUNCTION ...``, with ``darknet-py`` in place of ``./darknet``.

A module registers functions with ``@function("detector test", ...)``. Flags, defaults and output are Darknet's: results
are printed to the same stream. Commands that have no counterpart here are answered with what takes their place.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from ..._table import format_table
from ...errors import DataError, did_you_mean
from .. import _model, _output
from .._help import HelpFormatter
from .._verbs import Subparsers
from .arguments import Arguments, Line, fill, split_line, usage
from .flags import COMMON, FLAGS

if TYPE_CHECKING:
    from ...data.data_file import DataFile
    from ...loading import NetworkLoader
    from ...network import Network

Run = Callable[[argparse.Namespace], int]


@dataclass(frozen=True)
class Function:
    """A function of Darknet's command line.

    Attributes:
        name: command and function, ``detector test``; the command alone if it has no functions.
        files: names of the words behind it; ``name?`` may be missing, ``name*`` takes all that remain.
        flags: the flags that it uses, without ``COMMON``.
        defaults: defaults of flags that differ from those of the table, by attribute.
        run: runs it and returns the exit status.
    """

    name: str
    files: tuple[str, ...]
    flags: tuple[str, ...]
    defaults: dict[str, Any] = field(hash=False)
    run: Run

    @property
    def summary(self) -> str:
        """First line of its description."""
        return (self.run.__doc__ or "").replace("``", "").partition("\n")[0]

    def usage(self) -> str:
        """Description, files and flags."""
        parser = argparse.ArgumentParser(
            usage=f"darknet-py {self.name} {usage(self.files)} [flags]",
            description=inspect.cleandoc(self.run.__doc__ or "").replace("``", ""),
            formatter_class=HelpFormatter,
            add_help=False,
        )
        self.add_flags(parser.add_argument_group("flags"))
        return parser.format_help().rstrip("\n")

    def add_flags(self, parser: argparse._ActionsContainer) -> None:
        """Add the flags to a parser, for its help and for shell completion; ``arguments`` reads the lines."""
        for name in (*COMMON, *self.flags):
            flag = FLAGS[name]
            default = self.defaults.get(flag.attribute, flag.default)
            shown = "" if flag.kind in ("switch", "count") or default is None else f" (default: {default!r})"
            parser.add_argument(flag.name, help=f"{flag.help}{shown}".replace("%", "%%"), **_ARGPARSE[flag.kind])


_FUNCTIONS: dict[str, Function] = {}
_ARGPARSE: dict[str, Any] = {
    "switch": {"action": "store_true"},
    "count": {"metavar": "N", "nargs": "?"},
    "int": {"metavar": "N"},
    "float": {"metavar": "X"},
    "text": {"metavar": "TEXT"},
}


def function(name: str, files: str = "", flags: str = "", **defaults: Any) -> Callable[[Run], Run]:
    """Register a function of Darknet's command line; ``files`` and ``flags`` are separated by blanks."""

    def register(run: Run) -> Run:
        _FUNCTIONS[name] = Function(name, tuple(files.split()), tuple(flags.split()), defaults, run)
        return run

    return register


def functions() -> dict[str, Function]:
    """Return all functions by name."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return dict(sorted(_FUNCTIONS.items()))


def commands() -> list[str]:
    """Return the commands of all functions: the first words of their names."""
    return list(dict.fromkeys(name.split()[0] for name in functions()))


def add_command(subparsers: Subparsers, command: str) -> None:
    """Add a command with its functions to a parser, for shell completion."""
    chosen = functions().get(command)
    names = _functions_of(command)
    text = f"Darknet's {command}" if chosen is None else chosen.summary
    parser = subparsers.add_parser(command, help=text.replace("%", "%%"), add_help=False)
    if chosen is not None:
        _add_arguments(parser, chosen)
    if names:
        choices = parser.add_subparsers(metavar="FUNCTION")
        for name in names:
            chosen = functions()[f"{command} {name}"]
            _add_arguments(choices.add_parser(name, help=chosen.summary.replace("%", "%%"), add_help=False), chosen)


def _add_arguments(parser: argparse.ArgumentParser, chosen: Function) -> None:
    chosen.add_flags(parser)
    for file in chosen.files:
        parser.add_argument(file.rstrip("?*"), nargs=file[-1] if file[-1] in "?*" else None)


SHARED = ("classify", "compare", "detect", "partial", "visualize")  # commands that darknet-py has, too
_COMPARE = ("train", "valid", "sort", "battle")  # functions of Darknet's compare


def run_line(argv: Sequence[str]) -> int | None:
    """Run a line of Darknet's; None if it is not one. Notes on what has no effect go to stderr.

    A line of a command that darknet-py has, too, is Darknet's if it has a flag with a single dash, such as ``-thresh``.
    """
    line = split_line(argv)
    if not is_darknets(line, argv):
        return None
    is_help = any(word in ("--help", "-help") for word in line.unknown) or line.values.get(FLAGS["-h"]) is True
    if is_help:
        print(_help(line))
        return 0
    chosen, arguments = understand(line)
    for text in arguments.notes:
        note(text)
    _output.check(arguments.values)
    _model.load_plugins(arguments.values)
    return chosen.run(arguments.values)


def words_behind_flags(argv: Sequence[str]) -> list[str] | None:
    """The words of a line that begins with Darknet's flags; None if it begins otherwise, or if it asks for help."""
    line = split_line(argv)
    is_own = not argv or not argv[0].startswith("-") or line.unknown or argv[0] == "-h"
    return None if is_own or not line.values else line.words


def is_darknets(line: Line, argv: Sequence[str]) -> bool:
    """Whether a line is one of Darknet's."""
    command = line.words[0] if line.words else ""
    if command not in commands():
        return False
    if command not in SHARED:
        return True
    if command == "compare":
        return len(line.words) > 1 and line.words[1] in _COMPARE
    own = any(word.startswith("--") for word in line.unknown)
    return not own and any(flag.name in argv and flag.name != "-h" for flag in line.values)


def understand(line: Line) -> tuple[Function, Arguments]:
    """Find the function of a line, and its arguments. Raises DataError."""
    chosen = _find(line)
    if chosen is None:
        command = line.words[0]
        names = _functions_of(command)
        given = line.words[1] if len(line.words) > 1 else "nothing"
        hint = did_you_mean(given, names)
        raise DataError(f"{command}: expected one of {', '.join(names)}, found {given}{hint}")
    return chosen, fill(line, len(chosen.name.split()), chosen.files, chosen.flags, chosen.defaults)


def _find(line: Line) -> Function | None:
    """The function that a line names; None if the command has functions, and the line names none of them."""
    return functions().get(" ".join(line.words[:2])) or functions().get(line.words[0])


def _help(line: Line) -> str:
    chosen = _find(line)
    if chosen is not None:
        return chosen.usage()
    command = line.words[0]
    rows = [(f" {name}", functions()[f"{command} {name}"].summary) for name in _functions_of(command)]
    return "\n".join([f"usage: darknet-py {command} FUNCTION ...", "", "functions:", *format_table(rows, "<")])


def _functions_of(command: str) -> list[str]:
    return [name.split()[1] for name in functions() if name.startswith(f"{command} ")]


def note(text: str) -> None:
    """Print a note to stderr."""
    print(f"darknet-py: note: {text}", file=sys.stderr)


def read_data(args: argparse.Namespace) -> DataFile:
    """Read the .data file."""
    from ...data import data_file

    return data_file.read_data_file(args.data)


def load_network(args: argparse.Namespace, **options: Any) -> Network:
    """Load the network of CFG and WEIGHTS, on the device that ``-i`` names; ``options``: of ``loading.load``."""
    device = resolve_device(args)
    return _model.load(args.cfg, args.weights, allow_non_finite=False, advice="", device=device, **options)


def network_loader(args: argparse.Namespace) -> NetworkLoader:
    """Return what loads the network, for one that may free its plain weights."""
    from ...loading import NetworkLoader

    return NetworkLoader(functools.partial(load_network, args))


def resolve_device(args: argparse.Namespace) -> str:
    """Return the name of the torch device that ``-i`` names. Raises DataError.

    Without such a GPU it is the CPU, as in a CPU build of Darknet, with a note.
    """
    if args.nogpu:
        return "cpu"
    if args.i is None:
        return "auto"
    if args.i < -1:
        raise DataError(f"-i: expected -1 for the CPU or the number of a GPU, got {args.i}")
    return "cpu" if args.i < 0 or not has_gpus(f"-i {args.i}", [args.i]) else f"cuda:{args.i}"


def has_gpus(option: str, numbers: Sequence[int]) -> bool:
    """Return whether this machine has all GPUs of these numbers; otherwise print a note about ``option``."""
    import torch

    if max(numbers) < torch.cuda.device_count():
        return True
    note(f"{option}: no such GPU; the CPU is used")
    return False
