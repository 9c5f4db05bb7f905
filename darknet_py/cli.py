"""``darknet-py VERB``: every module in ``commands`` without a leading underscore is a verb.

Results are written to stdout; progress, warnings and errors to stderr. Exit status: 0, 1 (error in a file or in data),
2 (usage), 130 (Ctrl-C). A verb imports torch and the like in ``run``, so that help is fast.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from . import commands
from ._version import __version__
from .commands import _darknet, _files, _model, _output
from .commands._completion import SHELLS, completion_script
from .commands._console import escaping_control_characters
from .commands._help import HelpFormatter
from .commands._verbs import add_verbs, find_verbs
from .errors import DarknetError, UnusedOptionWarning, WeightsWarning, did_you_mean
from .inference.allocator import keep_freed_memory
from .inference.openmp import limit_spinning
from .messages import info_on_stderr

_DESCRIPTION = """\
Run, train and convert Darknet networks with PyTorch.

MODEL is a cfg file, or a name of the catalogue such as yolov4-tiny (see: darknet-py fetch --list).
darknet-py VERB --help describes a verb. Darknet's command lines work unchanged:

    darknet-py detector test coco.data yolov4.cfg yolov4.weights dog.jpg"""


def verbs() -> dict[str, ModuleType]:
    """Return the modules of the verbs, by name."""
    return find_verbs(commands)


def build_parser(*, with_darknet: bool = False) -> argparse.ArgumentParser:
    """Build the parser of the whole command line.

    Args:
        with_darknet: with the functions of Darknet's command line, for shell completion.
    """
    top = argparse.ArgumentParser("darknet-py", description=_DESCRIPTION, formatter_class=HelpFormatter)
    top.add_argument("--version", action="version", version=f"darknet-py {__version__}")
    top.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=SHELLS,
        help="print the script that completes command lines in this shell",
    )
    darknets = [name for name in _darknet.commands() if with_darknet and name not in _darknet.SHARED]
    subparsers = add_verbs(top, commands, without=darknets)
    for command in darknets:
        _darknet.add_command(subparsers, command)
    return top


class _PrintCompletion(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, _namespace: object, shell: Any, _option: str | None = None
    ) -> None:
        print(completion_script(build_parser(with_darknet=True), shell))
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of the process, and return the exit status."""
    line = list(sys.argv[1:] if argv is None else argv)
    keep_freed_memory()
    limit_spinning()
    with warnings.catch_warnings(), _lossy_stderr(), _escaping_streams(), escaping_control_characters():
        for category in (UnusedOptionWarning, WeightsWarning):
            warnings.simplefilter("default", category)
        warnings.showwarning = _print_warning
        try:
            _require_working_directory()
            status = _darknet.run_line(line)
            if status is None:
                status = _run_verb(line)
            sys.stdout.flush()
        except DarknetError as error:
            if error.is_reported:  # torchrun would stop the process that reports it if this one failed first
                return 0
            print(f"darknet-py: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("darknet-py: stopped", file=sys.stderr)
            return 130
        except BrokenPipeError:
            _output.discard_stdout()
            return 1
        except OSError as error:  # of the machine, not of the program: a full disk, a folder without permission
            place = f"{error.filename}: " if error.filename else ""
            print(f"darknet-py: {place}{error.strerror or error}", file=sys.stderr)
            return 1
    return status


def _require_working_directory() -> None:
    """Raise DarknetError if the working directory has been deleted, without which libraries end the process."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise DarknetError("the working directory does not exist any more: change to another one") from None


class _Unread(io.FileIO):
    """A console or pipe for messages, which are dropped if nobody reads them any more."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


@contextlib.contextmanager
def _lossy_stderr() -> Iterator[None]:
    """Let nothing end because stderr is a closed pipe, a terminal that is gone, or a file on a full disk."""
    stream = sys.stderr
    if stream is not sys.__stderr__ or not isinstance(stream, io.TextIOWrapper):
        yield
        return
    stream.flush()
    messages = _Unread(stream.fileno(), "w", closefd=False)
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(messages), stream.encoding, line_buffering=True)
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = stream


@contextlib.contextmanager
def _escaping_streams() -> Iterator[None]:
    """Print what the console's encoding does not have as escapes, such as ``\\u0448``, and not fail on it."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    try:
        for stream in streams:
            stream.reconfigure(errors="backslashreplace")
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            if not stream.closed:
                stream.reconfigure(errors=errors)


def _parse(line: Sequence[str]) -> argparse.Namespace:
    """Parse a line. A wrong one ends in SystemExit, with the usage of its verb and the word that may be meant."""
    top = build_parser()
    if not line:
        top.print_help()
        raise SystemExit(0)
    known = verbs()
    behind_flags = _darknet.words_behind_flags(line)
    if behind_flags == []:
        raise DarknetError(
            f"{line[0]}: a flag of Darknet's, without a command: expected a line such as darknet-py detector test DATA "
            "CFG WEIGHTS IMAGE; darknet-py help lists them"
        )
    verb = behind_flags[0] if behind_flags else line[0]
    if behind_flags and verb in known:
        top.error(f"{line[0]} in front of {verb}: expected options behind it: see darknet-py {verb} --help")
    if not verb.startswith("-") and verb not in known:
        hint = did_you_mean(verb, [*known, *_darknet.commands()])
        top.error(f"unknown verb {verb!r}{hint}: expected one of {', '.join(known)}")
    args, unknown = top.parse_known_args(line)
    parser: argparse.ArgumentParser = args.parser
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings]
        parser.error(f"unknown argument {unknown[0]}{did_you_mean(unknown[0].partition('=')[0], flags)}")
    return args


def _run_verb(line: Sequence[str]) -> int:
    try:
        args = _parse(line)
    except SystemExit as error:  # argparse has printed the usage or the help
        return int(error.code or 0)
    run: Callable[[argparse.Namespace], int] = args.run
    _files.check_arguments(args.parser, args)
    del args.parser
    _output.check(args)
    _output.require_writable(getattr(args, name, None) for name in _output.RESULTS)
    _model.load_plugins(args)
    with info_on_stderr() if getattr(args, "verbose", False) else contextlib.nullcontext():
        return run(args)


def _print_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"darknet-py: {message}", file=sys.stderr)
