"""Convert the entries of a section to a frozen dataclass of typed options.

A field of an ``Options`` class is one key, and its annotation the type of the value. ``option()`` gives Darknet's
default, the description in ``docs/cfg.md``, the range of a number, whether the key has an effect here, and the key
itself where it differs from the field's name. ``cfg.values`` converts the text.

A value that only training reads does not stop inference: it is reported, the default takes its place, and ``errors`` of
the options hold the message, which training raises.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import re
import typing
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from ..errors import ConfigError, UnusedOptionWarning, did_you_mean, shorten
from . import Config, Dialect, Entry, Section
from .named_files import find_file
from .values import convert

_PARTED_NUMBER = re.compile(r"\d[\d.]*\s+[-+.\d][\d.]*")
_SUGGESTIONS = 20  # unknown keys of a section for which a similar one is looked up

T = TypeVar("T", bound="Options")


Effect = Literal["normal", "none", "unused", "speed", "unsupported"]

# Reported by check, training and strict reading. "unused" and "speed" are not: official cfgs set these keys.
_INEFFECTIVE: dict[Effect, str] = {"none": "has no effect", "unsupported": "not supported, ignored"}


def option(
    default: Any,
    doc: str,
    *,
    min: float | None = None,
    max: float | None = None,
    key: str = "",
    train: bool = False,
    tolerant: bool = False,
    effect: Effect = "normal",
    only: str = "",
    layers: bool = False,
    extension: bool = False,
) -> Any:
    """Declare a field of an Options class.

    Args:
        default: Darknet's default, or ``dataclasses.MISSING`` for a required key.
        doc: description for ``docs/cfg.md`` and error messages.
        min: smallest number that is accepted; None: that of C's type. NaN never is.
        max: largest number that is accepted; None: that of C's type, which excludes infinity.
        key: key in the file, where it differs from the field's name.
        train: whether the key matters in training only.
        tolerant: whether inference reports an invalid value and uses the default, as it does where ``train`` is set.
        effect: ``"normal"``: the key acts as in Darknet. ``"none"``: it changes no result, in Darknet either.
            ``"unused"``: C reads it and never uses it, but official cfgs set it.
            ``"speed"``: it changes only time and memory in Darknet, and nothing here. ``"unsupported"``: it
            changes results in Darknet and nothing here.
        only: ``"classifiers"`` or ``"detectors"``, where the training of other networks does not read the key.
        layers: whether the value is numbers of layers; negative ones are relative to the section.
        extension: whether the key is this package's own: C Darknet does not know it.
    """
    metadata = {"doc": doc, "key": key, "train": train, "tolerant": tolerant or train, "effect": effect, "only": only}
    metadata |= {"min": min, "max": max, "layers": layers, "extension": extension}
    return dataclasses.field(default=default, metadata=metadata)


class Conflict(NamedTuple):
    """Keys of a section that contradict each other.

    Attributes:
        key: the key to change.
        message: what is wrong, and the value that fits.
        stops_training: whether training cannot start.
    """

    key: str
    message: str
    stops_training: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The typed entries of one section.

    Attributes:
        dialect: the fork of Darknet to follow.
        errors: messages about values that only training reads, with their place; training raises the first.
    """

    dialect: Dialect = Dialect.ALEXEYAB
    errors: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    def conflicts(self) -> Iterator[Conflict]:
        """Yield the keys that contradict each other, of sections that build a network all the same."""
        return iter(())


def keys(options: type[Options]) -> dict[str, dataclasses.Field[Any]]:
    """Return the fields of an Options class that are keys of a cfg, by key."""
    return {f.metadata["key"] or f.name: f for f in dataclasses.fields(options) if "doc" in f.metadata}


def layer_numbers(options: Options) -> dict[str, tuple[int, ...]]:
    """Return the numbers of layers that a section refers to as they are written, by key; not those by default."""
    fields = {key: known for key, known in keys(type(options)).items() if known.metadata["layers"]}
    values = {key: getattr(options, known.name) for key, known in fields.items()}
    given = {key: value for key, value in values.items() if value != fields[key].default}
    return {key: value if isinstance(value, tuple) else (value,) for key, value in given.items()}


class IneffectiveOption(NamedTuple):
    """A key of a cfg that is set to something other than its default and changes no result."""

    location: str  # "my.cfg:12: [cost]"
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.location} {self.key}: {self.reason}"


def ineffective_options(config: Config, options: Iterable[Options], kind: str = "") -> Iterator[IneffectiveOption]:
    """Yield the keys of a cfg that do nothing: by their declared effect, or for this kind of network.

    Args:
        config: the cfg.
        options: the options of its sections, in order: those of ``[net]``, then those of every layer.
        kind: ``"classifiers"`` or ``"detectors"``: what the network is one of; empty: unknown.
    """
    for section, values in zip(config.sections, options, strict=True):
        known = keys(type(values))
        lines = {entry.key: entry.line for entry in reversed(section.entries) if entry.value}
        for key, line in sorted(lines.items(), key=lambda pair: pair[1]):
            if key in known and (reason := _ineffective_reason(known[key], getattr(values, known[key].name), kind)):
                yield IneffectiveOption(f"{config.path}:{line}: [{section.name}]", key, reason)


def _ineffective_reason(known: dataclasses.Field[Any], value: object, kind: str = "") -> str:
    """Return why a value of an option changes no result; an empty string if it may change one."""
    if value == known.default:
        return ""
    if kind and known.metadata["only"] not in ("", kind):
        return f"is for {known.metadata['only']}, no effect on this network"
    return _INEFFECTIVE.get(known.metadata["effect"], "")


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
        UnusedOptionWarning: a key is unknown or repeated, a value is empty or followed by other text, keys contradict
            each other, or a value that only training reads is invalid.
    """
    report = functools.partial(_report, config, section, strict)
    fields = keys(options)
    hints = type_hints(typing.cast(Any, options))
    values: dict[str, Any] = {"dialect": dialect}
    errors: list[str] = []
    given: dict[str, Entry] = {}
    unknown = 0
    for entry in section.entries:
        known = fields.get(entry.key)
        if not entry.value:
            report(entry, "expected a value; the line is ignored")
        elif known is None:
            unknown += 1
            hint = did_you_mean(entry.key, fields) if unknown <= _SUGGESTIONS else ""
            report(entry, f"unknown option, ignored{hint}")
        elif entry.key in given:
            report(entry, "repeated key, ignored: the first one counts")
        else:
            given[entry.key] = entry
            try:
                values[known.name], notes = _convert_entry(hints[known.name], known.metadata, entry, config)
            except ValueError as error:
                message = _message(config, section, entry, str(error))
                if strict or not known.metadata["tolerant"]:
                    raise ConfigError(message) from error
                report(entry, f"{error}; the default is used, and training refuses it")
                errors.append(message)
                continue
            for note in notes:
                report(entry, note)
            if strict and (reason := _ineffective_reason(known, values[known.name])):
                report(entry, reason)
    for key, known in fields.items():
        if known.default is dataclasses.MISSING and known.name not in values:
            raise ConfigError(
                f"{config.path}:{section.line}: [{section.name}] missing key {key}= ({known.metadata['doc']})"
            )
    result = options(**values)
    for conflict in result.conflicts():
        entry = given.get(conflict.key, Entry(conflict.key, "", section.line))
        report(entry, conflict.message)
        if conflict.stops_training:
            errors.append(_message(config, section, entry, conflict.message))
    return dataclasses.replace(result, errors=tuple(errors)) if errors else result


def _convert_entry(hint: Any, limits: Mapping[str, Any], entry: Entry, config: Config) -> tuple[Any, list[str]]:
    """Return the value of an entry, and what is to be said about its text."""
    value, rest = convert(hint, entry.value, entry.raw or entry.value, (limits["min"], limits["max"]))
    notes = []
    if isinstance(value, pathlib.Path):
        value = find_file(value, config)
    elif not isinstance(value, str) and (match := _PARTED_NUMBER.search(entry.raw.partition("#")[0])):
        notes.append(f"blanks are removed, as in Darknet: {match.group()!r} is read as one number")
    if rest and not rest.startswith("#"):
        notes.append(f"text {shorten(rest)} after the value, ignored")
    return value, notes


@functools.cache
def type_hints(options: type[Options]) -> dict[str, Any]:
    """Return the types of the fields of an Options class, by field."""
    return typing.get_type_hints(options)


def _message(config: Config, section: Section, entry: Entry, text: str) -> str:
    return f"{config.path}:{entry.line}: [{section.name}] {entry.key}: {text}"


def _report(config: Config, section: Section, strict: bool, entry: Entry, text: str) -> None:
    message = _message(config, section, entry, text)
    if strict:
        raise ConfigError(message)
    warnings.warn(message, UnusedOptionWarning, stacklevel=2)
