"""A section's entries to a frozen dataclass of options: the only place that converts text.

A field of an ``Options`` class is one key. Its annotation is the type the text is converted to; ``option()``
gives Darknet's default, the description in ``docs/cfg.md``, whether the key has an effect here, and the key
itself where it differs from the field's name. Numbers are read as C's ``atoi`` and ``atof`` read them: up to
the first character that is not part of a number (``255#x`` is 255, an integer ``1e3`` is 1). Text that starts
with no number is an error here, where C silently takes 0.
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


Effect = Literal["normal", "none", "speed", "unsupported"]

# Reported by check, training and strict reading. "speed" is not: the results are those of Darknet.
_INEFFECTIVE: dict[Effect, str] = {"none": "has no effect", "unsupported": "not supported, ignored"}


def option(default: Any, doc: str, *, key: str = "", train: bool = False, effect: Effect = "normal") -> Any:
    """Declare a field of an Options class.

    Args:
        default: Darknet's default, or ``dataclasses.MISSING`` for a required key.
        doc: description for ``docs/cfg.md`` and error messages.
        key: key in the file, where it differs from the field's name.
        train: whether the key matters in training only.
        effect: ``"normal"``: the key acts as in Darknet. ``"none"``: it changes no result, in Darknet either.
            ``"speed"``: it changes only time and memory in Darknet, and nothing here. ``"unsupported"``: it
            changes results in Darknet and nothing here.
    """
    return dataclasses.field(default=default, metadata={"doc": doc, "key": key, "train": train, "effect": effect})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The typed entries of one section."""

    dialect: Dialect = Dialect.ALEXEYAB


def keys(options: type[Options]) -> dict[str, dataclasses.Field[Any]]:
    """The fields of an Options class that are keys of the file, by key."""
    return {f.metadata["key"] or f.name: f for f in dataclasses.fields(options) if "doc" in f.metadata}


class Ineffective(NamedTuple):
    """A key of a cfg that is set to something other than its default and changes no result."""

    place: str  # "my.cfg:12: [cost]"
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place} {self.key}: {self.reason}"


def ineffective(config: Config, options: Iterable[Options]) -> Iterator[Ineffective]:
    """Yield the keys of a cfg whose option is declared with ``effect="none"`` or ``"unsupported"``.

    Args:
        config: the cfg.
        options: the options of its sections, in order: those of ``[net]``, then those of every layer.
    """
    for section, values in zip(config.sections, options, strict=True):
        known = keys(type(values))
        lines = {entry.key: entry.line for entry in reversed(section.entries) if entry.value}
        for key, line in sorted(lines.items(), key=lambda pair: pair[1]):
            if key in known and (reason := _ignored(known[key], getattr(values, known[key].name))):
                yield Ineffective(f"{config.path}:{line}: [{section.name}]", key, reason)


def _ignored(known: dataclasses.Field[Any], value: object) -> str:
    """Why a value of an option changes no result; an empty string if it does."""
    return "" if value == known.default else _INEFFECTIVE.get(known.metadata["effect"], "")


def read(options: type[T], section: Section, config: Config, *, dialect: Dialect, strict: bool) -> T:
    """Convert a section's entries; report what says nothing (see errors.UnusedOptionWarning)."""
    report = functools.partial(_report, config, section, strict)
    fields, hints = keys(options), _hints(typing.cast(Any, options))
    values: dict[str, Any] = {"dialect": dialect}
    given: set[str] = set()
    for entry in section.entries:
        known = fields.get(entry.key)
        if not entry.value:
            report(entry, "no value; the line is ignored")
        elif known is None:
            report(entry, f"unknown option, ignored{did_you_mean(entry.key, fields)}")
        elif entry.key in given:
            report(entry, "given before; the first one counts")
        else:
            given.add(entry.key)
            try:
                values[known.name], rest = _convert(hints[known.name], entry.value)
                if isinstance(values[known.name], pathlib.Path):
                    values[known.name] = _located(values[known.name], config)
            except ValueError as error:
                raise ConfigError(f"{config.path}:{entry.line}: [{section.name}] {entry.key}: {error}") from error
            if rest and not rest.startswith("#"):
                report(entry, f"{rest!r} behind the value, ignored")
            if strict and (reason := _ignored(known, values[known.name])):
                report(entry, reason)
    for key, known in fields.items():
        if known.default is dataclasses.MISSING and known.name not in values:
            raise ConfigError(f"{config.path}:{section.line}: [{section.name}] needs {key}= ({known.metadata['doc']})")
    return options(**values)


def _located(name: pathlib.Path, config: Config) -> pathlib.Path:
    """A file that a cfg names: Darknet looks from the working directory, official cfgs say data/9k.tree."""
    if str(name) in config.files:
        return config.files[str(name)]
    folder = pathlib.Path(config.path).parent
    shares = os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":")
    places = (folder, folder.parent, pathlib.Path(), *(pathlib.Path(share, "darknet") for share in shares))
    for place in places:
        if (place / name).is_file():
            return place / name
    looked = ", ".join(dict.fromkeys(str(place / name) for place in places))
    raise ValueError(f"no file {str(name)!r} (looked for {looked})")


@functools.cache
def _hints(options: type[Options]) -> dict[str, Any]:
    return typing.get_type_hints(options)


def _report(config: Config, section: Section, strict: bool, entry: Entry, text: str) -> None:
    message = f"{config.path}:{entry.line}: [{section.name}] {entry.key}: {text}"
    if strict:
        raise ConfigError(message)
    warnings.warn(message, UnusedOptionWarning, stacklevel=2)


def _convert(hint: Any, text: str) -> tuple[Any, str]:
    """The value of ``text`` read as ``hint``, and what is left behind it."""
    if isinstance(hint, types.UnionType):  # ``int | None``: None stands for an absent key
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _member(hint, text), ""
    if typing.get_origin(hint) is tuple:
        head, sharp, tail = text.partition("#")
        element = typing.get_args(hint)[0]
        return tuple(_convert(element, part)[0] for part in head.split(",")), sharp + tail
    return _SCALARS[hint](text)


def _number(pattern: re.Pattern[str], kind: Callable[[str], Any], name: str, text: str) -> tuple[Any, str]:
    match = pattern.match(text)
    if match is None:
        raise ValueError(f"expected {name}, got {text!r}")
    return kind(match.group()), text[match.end() :]


def _truth(text: str) -> tuple[bool, str]:
    # Some flags are read with atof, others with atoi; both take any number that is not zero for yes.
    value, rest = _number(_FLOAT, float, "0 or 1", text)
    return value != 0, rest


def _member(kind: type[enum.Enum], text: str) -> enum.Enum:
    word = text.partition("#")[0]
    try:
        return kind(word)
    except ValueError:
        choices = [str(member.value) for member in kind]
        raise ValueError(f"expected one of {', '.join(choices)}, got {word!r}{did_you_mean(word, choices)}") from None


_SCALARS: dict[Any, Callable[[str], tuple[Any, str]]] = {
    int: functools.partial(_number, _INTEGER, int, "an integer"),
    float: functools.partial(_number, _FLOAT, float, "a number"),
    bool: _truth,
    str: lambda text: (text, ""),
    pathlib.Path: lambda text: (pathlib.Path(text.partition("#")[0]), ""),
}
