"""Text of a ``.cfg`` file to sections and back; knows the grammar and no section.

Darknet's grammar (``parser.c read_cfg``, ``utils.c strip``), line by line:

* every blank, tab and carriage return is removed, wherever it stands: ``activation = li near`` is
  ``linear`` and ``[ne t]`` is ``[net]``;
* an empty line, or one that starts with ``#`` or ``;``, says nothing. There is no other comment, but
  numbers end at the first character that is foreign to them, so ``filters=255 # x`` works;
* ``[name]`` starts a section, everything else is ``key=value``, split at the first ``=``;
* of two equal keys in a section the first one counts.

Kinder than Darknet where it would crash or misread: a leading byte order mark and a comment behind
``[name]`` pass. ``key=`` and a line without ``=`` mean nothing, as there: they are kept with an empty
value so that the reader of the section can report them.
"""

from __future__ import annotations

import enum
import os
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .._typing import StrPath
from ..errors import ConfigError

_BLANKS = str.maketrans("", "", " \t\r")


class Dialect(enum.StrEnum):
    """Whose rules hold where the forks of Darknet differ for the same cfg."""

    ALEXEYAB = "alexeyab"
    PJREDDIE = "pjreddie"


@dataclass(frozen=True)
class Entry:
    """One ``key=value`` line; ``value`` is empty where the line gives none."""

    key: str
    value: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Section:
    """A ``[name]`` and the entries up to the next one, in the file's order."""

    name: str
    entries: tuple[Entry, ...] = ()
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Config:
    """A whole cfg: its sections, where it came from, and the text it was read from.

    ``files``: where the files lie that it names, for those that are not looked for beside it.
    """

    sections: tuple[Section, ...]
    path: str = field(default="<text>", compare=False)
    text: str = field(default="", compare=False, repr=False)
    files: Mapping[str, pathlib.Path] = field(default_factory=dict, compare=False, repr=False)


def loads(text: str, path: str = "<text>") -> Config:
    """Read the text of a cfg; ``path`` is what errors call it. Raises ConfigError."""
    sections: list[Section] = []
    entries: list[Entry] = []
    for number, line in _lines(text):
        if line.startswith("["):
            name, bracket, rest = line[1:].partition("]")
            if not bracket or not name or rest[:1] not in ("", "#", ";"):
                raise ConfigError(f"{path}:{number}: expected [section], got {line!r}")
            entries = []
            sections.append(Section(name, (), number))
            continue
        if not sections:
            raise ConfigError(f"{path}:{number}: expected a section such as [net] first, got {line!r}")
        key, _, value = line.partition("=")
        entries.append(Entry(key, value, number))
        sections[-1] = Section(sections[-1].name, tuple(entries), sections[-1].line)
    if not sections:
        raise ConfigError(f"{path}: no section: expected a cfg that starts with [net]")
    return Config(tuple(sections), path, text)


def load(path: StrPath) -> Config:
    """Read a cfg file. Raises ConfigError, also where the file is missing or is no text."""
    name = os.fspath(path)
    try:
        text = pathlib.Path(name).read_bytes().decode("utf-8", errors="surrogateescape")
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror or error}") from error
    if "\0" in text:
        raise ConfigError(f"{name}: expected the text of a cfg, found binary data (are cfg and weights swapped?)")
    return loads(text, name)


def dumps(config: Config) -> str:
    """Return text that ``loads`` reads as the same sections and entries."""
    return "\n\n".join(_section_text(section) for section in config.sections) + "\n"


def _section_text(section: Section) -> str:
    rows = (entry.key + "=" + entry.value if entry.value else entry.key for entry in section.entries)
    return "\n".join((f"[{section.name}]", *rows))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        line = raw.translate(_BLANKS)
        if line and line[0] not in "#;":
            yield number, line
