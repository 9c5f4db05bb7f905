"""Parse the text of a cfg into sections, and write sections as text.

Darknet's grammar (``read_cfg`` in parser.c, ``strip`` in utils.c), line by line:

* All spaces, tabs and carriage returns are removed, also within words: ``activation = li near`` is ``linear``, and
  ``[ne t]`` is ``[net]``.
* Empty lines and lines that start with ``#`` or ``;`` are ignored. These are the only comments; but a number ends at
  the first character that is not part of it, so ``filters=255 # x`` works.
* ``[name]`` starts a section. Any other line is ``key=value``, split at the first ``=``.
* Of repeated keys in a section the first one counts.

Unlike Darknet, which crashes or misreads them, a leading byte order mark and a comment after ``[name]`` are accepted.
``key=`` and lines without ``=`` are ignored, as in Darknet: they are kept with an empty value, to be reported.
"""

from __future__ import annotations

import enum
import os
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .._typing import StrPath
from ..errors import ConfigError, shorten
from ..text_files import decode_text

_WHITESPACE = str.maketrans("", "", " \t\r")


class Dialect(enum.StrEnum):
    """The fork of Darknet to follow where the forks differ for the same cfg."""

    ALEXEYAB = "alexeyab"
    PJREDDIE = "pjreddie"


@dataclass(frozen=True)
class Entry:
    """One ``key=value`` line.

    Attributes:
        key: the key.
        value: the value without blanks; empty if the line has none.
        line: number of the line.
        raw: the value as written, with its blanks.
    """

    key: str
    value: str
    line: int = field(default=0, compare=False)
    raw: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Section:
    """A ``[name]`` and its entries, in the order of the file."""

    name: str
    entries: tuple[Entry, ...] = ()
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Config:
    """A parsed cfg.

    Attributes:
        sections: all sections, ``[net]`` first.
        path: file of the cfg, for error messages.
        text: the text it was parsed from.
        files: paths of files that the cfg names, by the names it uses; other files are searched for.
        overrides: values of ``[net]`` that have replaced those of the file, by key; ``text`` has them.
        allow_paths: whether these may be anywhere, see ``load``.
    """

    sections: tuple[Section, ...]
    path: str = field(default="<text>", compare=False)
    text: str = field(default="", compare=False, repr=False)
    files: Mapping[str, pathlib.Path] = field(default_factory=dict, compare=False, repr=False)
    overrides: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    allow_paths: bool = field(default=False, compare=False)


def loads(text: str, path: str = "<text>", *, allow_paths: bool = False) -> Config:
    """Parse the text of a cfg.

    Args:
        text: the text.
        path: its name in error messages.
        allow_paths: see ``load``.

    Raises:
        ConfigError: a line is neither a section, an entry nor a comment, or there is no section.
    """
    found: list[tuple[str, int, list[Entry]]] = []  # name, line and entries of each section
    for number, raw, line in _lines(text):
        if line.startswith("["):
            name, bracket, rest = line[1:].partition("]")
            if not bracket or not name or rest[:1] not in ("", "#", ";"):
                raise ConfigError(f"{path}:{number}: expected [section], got {shorten(line)}")
            found.append((name, number, []))
            continue
        if not found:
            raise ConfigError(f"{path}:{number}: expected a section such as [net] first, got {shorten(line)}")
        key, _, value = line.partition("=")
        found[-1][2].append(Entry(key, value, number, raw.partition("=")[2].strip()))
    if not found:
        raise ConfigError(f"{path}: expected a cfg that starts with [net], found no section")
    sections = tuple(Section(name, tuple(entries), line) for name, line, entries in found)
    return Config(sections, path, text, allow_paths=allow_paths)


def load(path: StrPath, *, allow_paths: bool = False) -> Config:
    """Read and parse a cfg file in UTF-8 or UTF-16. Bytes of another encoding are kept.

    Args:
        path: the file.
        allow_paths: let ``tree=`` and ``map=`` name any file. Otherwise it must be below the folder of the cfg, the
            folder above that, the working directory, or a folder ``darknet`` of $XDG_DATA_DIRS, links resolved.

    Raises:
        ConfigError: the file cannot be read, or is not the text of a cfg.
    """
    name = os.fspath(path)
    try:
        text = decode_text(pathlib.Path(name).read_bytes())
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise ConfigError(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    if "\0" in text:
        raise ConfigError(f"{name}: expected the text of a cfg, found binary data (are cfg and weights swapped?)")
    return loads(text, name, allow_paths=allow_paths)


def dumps(config: Config) -> str:
    """Return a text that ``loads`` parses to the same sections and entries."""
    return "\n\n".join(section_text(section) for section in config.sections) + "\n"


def section_text(section: Section) -> str:
    """Return the text of a section, without a line end after its last line."""
    lines = (f"{entry.key}={entry.value}" if entry.value else entry.key for entry in section.entries)
    return "\n".join((f"[{section.name}]", *lines))


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield number, text and text without blanks of the lines that are not comments."""
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        line = raw.translate(_WHITESPACE)
        if line and line[0] not in "#;":
            yield number, raw, line
