"""Read Darknet's command lines as its ``find_arg`` functions do: flags anywhere, left-over words ignored.

Of a line ``[flags] COMMAND [FUNCTION] files [flags]`` the flags with their values are taken out first; the words that
remain are the command, its function and the files. Nothing of a line is an error that Darknet accepts: a flag that the
function does not use, a value behind a flag that has none (``-clear 1``), and words too many are named on stderr.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import DataError, did_you_mean
from .._files import KINDS, Place, check_kinds
from .flags import COMMON, FLAGS, Flag, find_flag

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_SUFFIXES = {"data": (".data",), "cfg": (".cfg",)}  # of files that may be given in any order


@dataclass
class Line:
    """A command line, taken apart.

    Attributes:
        words: command, function and files, without flags.
        values: value of each flag in the line, as text; True for a switch.
        strays: indices in ``words`` of numbers behind a switch, which may be meant as its value.
        unknown: flags that no fork has.
    """

    words: list[str] = field(default_factory=list)
    values: dict[Flag, str | bool] = field(default_factory=dict)
    strays: list[int] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def split_line(argv: Iterable[str]) -> Line:
    """Take the flags and their values out of a line. Of a repeated flag the first counts, as in Darknet."""
    line = Line()
    words = [re.sub(r"[\t\r\n]", "", word) if word.strip("\t\r\n ") else word for word in argv]  # strip_args
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        following = words[position] if position < len(words) else None
        flag = find_flag(word)
        if flag is None:
            if word.startswith("-") and not _NUMBER.fullmatch(word) and word != "-":
                line.unknown.append(word)
                _mark_stray(line, following)
            else:
                line.words.append(word)
            continue
        value: str | bool = True
        if flag.kind == "count":
            if following is not None and following.isdecimal():
                value = following
                position += 1
        elif flag.kind != "switch" and following is not None:
            value = following
            position += 1
        elif flag.kind == "switch":
            _mark_stray(line, following)
        line.values.setdefault(flag, value)
    return line


def _mark_stray(line: Line, following: str | None) -> None:
    if following is not None and _NUMBER.fullmatch(following) and not os.path.exists(following):
        line.strays.append(len(line.words))


@dataclass
class Arguments:
    """The arguments of a function.

    Attributes:
        values: the files and all flags, by name.
        notes: what of the line has no effect, and why.
    """

    values: argparse.Namespace
    notes: list[str]


def fill(line: Line, start: int, files: Sequence[str], flags: Sequence[str], defaults: dict[str, Any]) -> Arguments:
    """Assign the words and flags of a line to the arguments of a function.

    Args:
        line: the line.
        start: number of words that name the function.
        files: names of the files; ``name?`` may be missing, ``name*`` takes all that remain.
        flags: the flags that the function uses, without ``COMMON``.
        defaults: defaults of flags that differ from those of the table, by attribute.

    Raises:
        DataError: a file is missing or in the place of another, or a value is not a number.
    """
    name = " ".join(line.words[:start])
    words, notes = _drop_strays(line, start, files)
    words = _in_order(words, [file.rstrip("?*") for file in files])
    values = argparse.Namespace()
    for file in files:
        plain = file.rstrip("?*")
        if file.endswith("*"):
            setattr(values, plain, words)
            words = []
        elif words:
            setattr(values, plain, words.pop(0))
        elif file.endswith("?"):
            setattr(values, plain, None)
        else:
            raise DataError(f"{name}: expected {usage(files)}, found no {plain.upper()}")
    check_kinds(name, list(_places(values)))
    for flag in FLAGS.values():
        value = defaults.get(flag.attribute, flag.default)
        if flag in line.values:
            given = _convert(flag, line.values[flag])
            if given is None:
                notes.append(f"{flag.name}: expected a value behind it; ignored")
            else:
                value = given
        setattr(values, flag.attribute, value)
    used = {*COMMON, "-dont_show", *flags}
    notes += [f"{flag.name} has no effect in {name}: {flag.help}" for flag in line.values if flag.name not in used]
    notes += [f"{word} is not a flag of Darknet{did_you_mean(word, FLAGS)}; ignored" for word in line.unknown]
    if words:
        notes.append(f"ignored: {' '.join(words)}")
    return Arguments(values, notes)


def _places(files: argparse.Namespace) -> Iterator[Place]:
    for name, value in vars(files).items():
        for word in value if isinstance(value, list) else [value]:
            if word is not None:
                yield Place(name.upper(), KINDS.get(name, ()), word)


def usage(files: Sequence[str]) -> str:
    """Format the files of a function: ``DATA CFG [WEIGHTS]``."""
    return " ".join(f"[{file[:-1].upper()}]" if file[-1] in "?*" else file.upper() for file in files)


def _drop_strays(line: Line, start: int, files: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words after the function, without numbers behind a switch as far as no file needs them; notes on these."""
    needed = sum(not name.endswith(("?", "*")) for name in files)
    indices = list(range(start, len(line.words)))
    notes = []
    for stray in reversed(line.strays):
        if stray in indices and len(indices) > needed:
            indices.remove(stray)
            notes.append(f"ignored: {line.words[stray]}, behind a flag that has no value")
    return [line.words[index] for index in indices], notes


def _in_order(words: list[str], names: Sequence[str]) -> list[str]:
    """The words with a .data and a .cfg file moved to their places, as hank-ai's fork accepts any order.

    Words of functions that write a file are not moved.
    """
    words = list(words)
    if "output" in names:
        return words
    for name, suffixes in _SUFFIXES.items():
        if name not in names:
            continue
        place = names.index(name)
        matches = [word for word in words if word.endswith(suffixes)]
        if len(matches) == 1 and place < len(words) and not words[place].endswith(suffixes):
            words.remove(matches[0])
            words.insert(place, matches[0])
    return words


def _convert(flag: Flag, value: str | bool) -> bool | int | float | str | None:
    """The value of a flag in a line; None if it is missing."""
    if flag.kind == "switch":
        return True
    if value is True:
        return 0 if flag.kind == "count" else None
    text = str(value)
    if flag.kind == "text":
        return text
    if not _NUMBER.fullmatch(text):
        raise DataError(f"{flag.name}: expected a number, got {text!r}")
    return float(text) if flag.kind == "float" else int(float(text))
