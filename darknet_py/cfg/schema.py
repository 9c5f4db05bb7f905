"""Convert the entries of a section to a frozen dataclass of typed options.

No other module converts text. A field of an ``Options`` class is one key, and its annotation the type of the value.
``option()`` gives Darknet's default, the description in ``docs/cfg.md``, whether the key has an effect here, and the
key itself where it differs from the field's name. Numbers are read as C's ``atoi`` and ``atof`` read them: up to the
first character that is not part of a number (``255#x`` is 255, an integer ``1e3`` is 1). Text that does not start with
a number is an error here; C takes it as 0 without a message.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import os
import pathlib
import re
import types
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeVar

from ..errors import ConfigError, UnusedOptionWarning, did_you_mean
from . import Config, Dialect, Entry, Section

_INTEGER = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf(inity)?|nan)", re.IGNORECASE)

T = TypeVar("T", bound="Options")


Effect = Literal["normal", "none", "unused", "speed", "unsupported"]

# Reported by check, training and strict reading. "unused" and "speed" are not: official cfgs set these keys.
_INEFFECTIVE: dict[Effect, str] = {"none": "has no effect", "unsupported": "not supported, ignored"}


def option(default: Any, doc: str, *, key: str = "", train: bool = False, effect: Effect = "normal") -> Any:
    """Declare a field of an Options class.

    Args:
        default: Darknet's default, or ``dataclasses.MISSING`` for a required key.
        doc: description for ``docs/cfg.md`` and error messages.
        key: key in the file, where it differs from the field's name.
        train: whether the key matters in training only.
        effect: ``"normal"``: the key acts as in Darknet. ``"none"``: it changes no result, in Darknet either.
            ``"unused"``: C reads it and never uses it, but official cfgs set it.
            ``"speed"``: it changes only time and memory in Darknet, and nothing here. ``"unsupported"``: it
            changes results in Darknet and nothing here.
    """
    return dataclasses.field(default=default, metadata={"doc": doc, "key": key, "train": train, "effect": effect})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The typed entries of one section."""

    dialect: Dialect = Dialect.ALEXEYAB


def keys(options: type[Options]) -> dict[str, dataclasses.Field[Any]]:
    """Return the fields of an Options class that are keys of a cfg, by key."""
    return {f.metadata["key"] or f.name: f for f in dataclasses.fields(options) if "doc" in f.metadata}


class IneffectiveOption(NamedTuple):
    """A key of a cfg that is set to something other than its default and changes no result."""

    location: str  # "my.cfg:12: [cost]"
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.location} {self.key}: {self.reason}"


def ineffective_options(config: Config, options: Iterable[Options]) -> Iterator[IneffectiveOption]:
    """Yield the keys of a cfg whose option is declared with ``effect="none"`` or ``"unsupported"``.

    Args:
        config: the cfg.
        options: the options of its sections, in order: those of ``[net]``, then those of every layer.
    """
    for section, values in zip(config.sections, options, strict=True):
        known = keys(type(values))
        lines = {entry.key: entry.line for entry in reversed(section.entries) if entry.value}
        for key, line in sorted(lines.items(), key=lambda pair: pair[1]):
            if key in known and (reason := _ineffective_reason(known[key], getattr(values, known[key].name))):
                yield IneffectiveOption(f"{config.path}:{line}: [{section.name}]", key, reason)


def _ineffective_reason(known: dataclasses.Field[Any], value: object) -> str:
    """Return why a value of an option changes no result; an empty string if it may change one."""
    return "" if value == known.default else _INEFFECTIVE.get(known.metadata["effect"], "")


def read(options: type[T], section: Section, config: Config, *, dialect: Dialect, strict: bool) -> T:
    """Convert the entries of a section to options.

    Args:
        options: the Options class of the section.
        section: the section.
        config: the cfg it is part of, for error messages and for files that the cfg names.
        dialect: the fork of Darknet to follow.
        strict: raise ConfigError instead of UnusedOptionWarning, and for options without effect.

    Raises:
        ConfigError: a value cannot be converted, a required key is missing, or a file does not exist.

    Warns:
        UnusedOptionWarning: a key is unknown or repeated, or a value is empty or followed by other text.
    """
    report = functools.partial(_report, config, section, strict)
    fields = keys(options)
    hints = type_hints(typing.cast(Any, options))
    values: dict[str, Any] = {"dialect": dialect}
    given: set[str] = set()
    for entry in section.entries:
        known = fields.get(entry.key)
        if not entry.value:
            report(entry, "expected a value; the line is ignored")
        elif known is None:
            report(entry, f"unknown option, ignored{did_you_mean(entry.key, fields)}")
        elif entry.key in given:
            report(entry, "repeated key, ignored: the first one counts")
        else:
            given.add(entry.key)
            try:
                values[known.name], rest = _convert(hints[known.name], entry.value)
                if isinstance(values[known.name], pathlib.Path):
                    values[known.name] = _find_file(values[known.name], config)
            except ValueError as error:
                raise ConfigError(f"{config.path}:{entry.line}: [{section.name}] {entry.key}: {error}") from error
            if rest and not rest.startswith("#"):
                report(entry, f"text {rest!r} after the value, ignored")
            if strict and (reason := _ineffective_reason(known, values[known.name])):
                report(entry, reason)
    for key, known in fields.items():
        if known.default is dataclasses.MISSING and known.name not in values:
            raise ConfigError(
                f"{config.path}:{section.line}: [{section.name}] missing key {key}= ({known.metadata['doc']})"
            )
    return options(**values)


def _find_file(name: pathlib.Path, config: Config) -> pathlib.Path:
    """Return the path of a file that a cfg names.

    Darknet looks in the working directory only, and official cfgs name files such as data/9k.tree. Here the folder of
    the cfg, its parent, the working directory and Debian's /usr/share/darknet are searched.
    """
    if str(name) in config.files:
        return config.files[str(name)]
    cfg_folder = pathlib.Path(config.path).parent
    data_folders = os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":")
    folders = (cfg_folder, cfg_folder.parent, pathlib.Path(), *(pathlib.Path(path, "darknet") for path in data_folders))
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    searched = ", ".join(dict.fromkeys(str(folder / name) for folder in folders))
    raise ValueError(f"file {str(name)!r} not found (searched {searched})")


@functools.cache
def type_hints(options: type[Options]) -> dict[str, Any]:
    """Return the types of the fields of an Options class, by field."""
    return typing.get_type_hints(options)


def _report(config: Config, section: Section, strict: bool, entry: Entry, text: str) -> None:
    message = f"{config.path}:{entry.line}: [{section.name}] {entry.key}: {text}"
    if strict:
        raise ConfigError(message)
    warnings.warn(message, UnusedOptionWarning, stacklevel=2)


def _convert(hint: Any, text: str) -> tuple[Any, str]:
    """Convert ``text`` to the type ``hint``; return the value and the text after it."""
    if isinstance(hint, types.UnionType):  # of ``int | None``, None is an absent key
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _parse_member(hint, text), ""
    if typing.get_origin(hint) is tuple:
        head, hash_sign, tail = text.partition("#")
        element = typing.get_args(hint)[0]
        return tuple(_convert(element, part)[0] for part in head.split(",")), hash_sign + tail
    return _PARSERS[hint](text)


def _parse_number(pattern: re.Pattern[str], kind: Callable[[str], Any], name: str, text: str) -> tuple[Any, str]:
    match = pattern.match(text)
    if match is None:
        raise ValueError(f"expected {name}, got {text!r}")
    return kind(match.group()), text[match.end() :]


def _parse_bool(text: str) -> tuple[bool, str]:
    # C reads some flags with atof and others with atoi; any number other than zero is true.
    value, rest = _parse_number(_FLOAT, float, "0 or 1", text)
    return value != 0, rest


def _parse_member(kind: type[enum.Enum], text: str) -> enum.Enum:
    word = text.partition("#")[0]
    try:
        return kind(word)
    except ValueError:
        choices = [str(member.value) for member in kind]
        raise ValueError(f"expected one of {', '.join(choices)}, got {word!r}{did_you_mean(word, choices)}") from None


_PARSERS: dict[Any, Callable[[str], tuple[Any, str]]] = {
    int: functools.partial(_parse_number, _INTEGER, int, "an integer"),
    float: functools.partial(_parse_number, _FLOAT, float, "a number"),
    bool: _parse_bool,
    str: lambda text: (text, ""),
    pathlib.Path: lambda text: (pathlib.Path(text.partition("#")[0]), ""),
}
