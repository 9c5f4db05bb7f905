"""``read_space``: what is searched, from a TOML file, for the sections of a cfg.

    [net]
    learning_rate = { low = 1e-4, high = 1e-2, log = true }   a range
    mosaic = { choices = [false, true] }                      one of several values
    decay = 0.0005                                            a value that all trials have
    [yolo]
    iou_thresh = { low = 0.1, high = 0.5 }                    one value for all sections of this type
    [yolo.0]
    ignore_thresh = { low = 0.5, high = 0.9 }                 for the first of them only
    [head]
    jitter = { low = 0.0, high = 0.4 }                        for all detection heads that have the key

The space always contains the cfg's own values: a range is extended to them, a choice is added, and a key for which
sections of the cfg differ becomes a parameter for each of them.
"""

from __future__ import annotations

import os
import pathlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

from .._typing import StrPath
from ..cfg import schema
from ..cfg.net_section import NAMES
from ..cfg.values import convert
from ..errors import ConfigError, did_you_mean
from ..layers import Head
from ..network import Network
from .space import Parameter, Space, value_text

_DEFAULT = pathlib.Path(__file__).with_name("space.toml")
_NET, _HEADS = "net", "head"
_RANGE, _CHOICES = {"low", "high", "log"}, {"choices"}


class _Entry(NamedTuple):
    """A line of a space file: section, number of it among those of its type, key, what the key is to be."""

    section: str
    number: int | None
    key: str
    content: Any

    @property
    def name(self) -> str:
        return ".".join(str(part) for part in self[:3] if part is not None)


class _Place(NamedTuple):
    """A key of a section: number of the section (0 is [net]), key, its type, its range, and its value."""

    section: int
    key: str
    hint: Any
    limits: tuple[float | None, float | None]
    value: Any


def read_space(network: Network, path: StrPath | None = None) -> Space:
    """Read a space for a network.

    Args:
        network: The network; its cfg has the sections and their own values.
        path: The TOML file; None: the default space, of which what the cfg does not have is left out.

    Raises:
        ConfigError: The file cannot be read, names a section or a key that the cfg does not have, or has a value that
            the key cannot have; or there is nothing to search.
    """
    file = "the default space" if path is None else os.fspath(path)
    parameters: list[Parameter] = []
    fixed: dict[int, dict[str, str]] = {}
    notes: list[str] = []
    owners: dict[tuple[int, str], str] = {}
    for entry in _read_entries(_DEFAULT if path is None else path):
        places = _find_places(network, entry, f"{file}: {entry.name}", is_default=path is None)
        for place in places:
            owner = owners.setdefault((place.section, place.key), entry.name)
            if owner != entry.name:
                raise ConfigError(
                    f"{file}: {entry.name}: {_section_name(network, place.section)} has its {place.key} from {owner} "
                    "already: expected one entry for a key of a section"
                )
        if not isinstance(entry.content, dict):
            for place in places:
                fixed.setdefault(place.section, {})[place.key] = _check(place, entry.content, f"{file}: {entry.name}")
            continue
        for name, group in _group_by_value(network, entry, places):
            parameter = _create_parameter(name, group, entry.content, f"{file}: {entry.name}")
            if note := _extension_note(parameter, entry.content):
                notes.append(f"{file}: {name}: {note}")
            parameters.append(parameter)
    if not parameters:
        raise ConfigError(f"{file}: nothing to search: expected a range such as {{ low = 0.8, high = 0.98 }}")
    return Space(tuple(parameters), fixed, tuple(notes))


def _read_entries(path: StrPath) -> Iterator[_Entry]:
    file = os.fspath(path)
    try:
        content = tomllib.loads(pathlib.Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:  # of TOML and UTF-8 too
        raise ConfigError(f"{file}: {getattr(error, 'strerror', None) or error}") from error
    for section, entries in content.items():
        if not isinstance(entries, dict):
            raise ConfigError(f"{file}: {section}: expected a section such as [net] in front of it")
        for key, value in entries.items():
            if not key.isdecimal():
                yield _Entry(section, None, key, value)
            elif isinstance(value, dict):
                yield from (_Entry(section, int(key), *item) for item in value.items())
            else:
                raise ConfigError(f"{file}: {section}.{key}: expected the keys of a section, got {value!r}")


def _find_places(network: Network, entry: _Entry, where: str, *, is_default: bool) -> list[_Place]:
    """The keys that an entry is for; none if an entry of the default space is for what the cfg does not have."""
    sections = _find_sections(network, entry, where)
    if not sections and is_default:
        return []
    if not sections:
        raise ConfigError(f"{where}: {network.config.path} has no detection head")
    places = []
    for index in sections:
        options = network.options if index == 0 else network[index - 1].options
        known = schema.keys(type(options))
        if (field := known.get(entry.key)) is None:
            if entry.section == _HEADS or is_default:
                continue
            hint = did_you_mean(entry.key, known)
            raise ConfigError(f"{where}: {_section_name(network, index)} has no option {entry.key!r}{hint}")
        kind = "detectors" if network.heads else "classifiers"
        if field.metadata["effect"] != "normal" or field.metadata["only"] not in ("", kind):
            if is_default:
                continue
            raise ConfigError(f"{where}: {entry.key} has no effect on this network: expected another key")
        limits = field.metadata["min"], field.metadata["max"]
        hint = schema.type_hints(cast(Any, type(options)))[field.name]
        places.append(_Place(index, entry.key, hint, limits, getattr(options, field.name)))
    if not places and not is_default:
        raise ConfigError(f"{where}: no detection head of {network.config.path} has an option {entry.key!r}")
    return places


def _find_sections(network: Network, entry: _Entry, where: str) -> list[int]:
    """Indices of the sections that an entry is for; none only for heads."""
    sections = network.config.sections
    names = [_NET if index == 0 else section.name for index, section in enumerate(sections)]
    if entry.section == _HEADS and _HEADS not in names:
        found = [1 + index for index, layer in enumerate(network) if isinstance(layer, Head)]
    else:
        name = _NET if entry.section in NAMES else entry.section
        found = [index for index, other in enumerate(names) if other == name]
        if not found:
            hint = did_you_mean(entry.section, {*names, _HEADS})
            raise ConfigError(f"{where}: {network.config.path} has no section [{entry.section}]{hint}")
    if entry.number is None or not found:
        return found
    if entry.number >= len(found):
        raise ConfigError(
            f"{where}: {network.config.path} has {len(found)} of these sections: expected a number from 0 to "
            f"{len(found) - 1}"
        )
    return [found[entry.number]]


def _section_name(network: Network, index: int) -> str:
    name = f"[{network.config.sections[index].name}]"
    return name if index == 0 else f"layer {index - 1} {name}"


def _group_by_value(
    network: Network, entry: _Entry, places: Sequence[_Place]
) -> Iterator[tuple[str, Sequence[_Place]]]:
    """Name and places of the parameters of an entry: one, or one for each section if their own values differ."""
    if all(place.value == places[0].value for place in places):
        if places:
            yield entry.name, places
        return
    indices = _find_sections(network, entry, "")
    for place in places:
        yield f"{entry.section}.{indices.index(place.section)}.{entry.key}", [place]


def _create_parameter(name: str, places: Sequence[_Place], content: Mapping[str, Any], where: str) -> Parameter:
    keys = set(content)
    if keys != _CHOICES and keys - {"log"} != _RANGE - {"log"}:
        found = ", ".join(content) or "none"
        raise ConfigError(f"{where}: expected the keys low, high and log, or the key choices, found {found}")
    located = tuple((place.section, place.key) for place in places)
    own = places[0].value
    if keys == _CHOICES:
        return _create_choice(Parameter(name, located, ""), places[0], content["choices"], where)
    if places[0].hint not in (int, float):
        raise ConfigError(f"{where}: {places[0].key} is not a number: expected choices = [...]")
    for bound in ("low", "high"):
        value = content[bound]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{where}: {bound}: expected a number, got {value!r}")
        for place in places:
            _check(place, value, f"{where}: {bound}")
    low, high = (places[0].hint(content[bound]) for bound in ("low", "high"))
    log = content.get("log", False)
    if not isinstance(log, bool):
        raise ConfigError(f"{where}: log: expected true or false, got {log!r}")
    if low >= high:
        raise ConfigError(f"{where}: expected low below high, got {low:g} and {high:g}")
    if log and low <= 0:
        raise ConfigError(f"{where}: low: expected a number above 0 with log = true, got {low:g}")
    if log and own <= 0:
        raise ConfigError(
            f"{where}: the cfg's own value {own:g} is not part of a range with log = true: expected log = false, or a "
            "value above 0 in the cfg"
        )
    return Parameter(name, located, own, min(low, own), max(high, own), log)


def _create_choice(parameter: Parameter, place: _Place, choices: Any, where: str) -> Parameter:
    if not isinstance(choices, list) or not choices:
        raise ConfigError(f"{where}: choices: expected a list of values, got {choices!r}")
    texts = {_check(place, choice, f"{where}: choices"): _parse(place, choice) for choice in choices}
    own = next((text for text, value in texts.items() if value == place.value), value_text(place.value))
    if not own:
        raise ConfigError(f"{where}: choices: the cfg has no {place.key}=: add its value to the cfg")
    return replace(parameter, start=own, choices=tuple(dict.fromkeys((*texts, own))))


def _check(place: _Place, value: Any, where: str) -> str:
    """The text of a value. Raises ConfigError if the key cannot have it."""
    if not isinstance(value, bool | int | float | str):
        raise ConfigError(f"{where}: expected a number, text, true or false, got {value!r}")
    try:
        _parse(place, value)
    except ValueError as error:
        raise ConfigError(f"{where}: {place.key}: {error}") from error
    return value_text(value)


def _parse(place: _Place, value: Any) -> Any:
    text = value_text(value)
    if set(text) & set("\r\n#"):
        raise ValueError(f"expected one value, got {text!r}")
    compact = text.translate({ord(blank): None for blank in " \t"})
    parsed, rest = convert(place.hint, compact, text, place.limits)
    if rest or (place.hint is int and isinstance(value, float) and value != parsed):
        raise ValueError(f"expected {'an integer' if place.hint is int else 'one value'}, got {text!r}")
    return parsed


def _extension_note(parameter: Parameter, content: Mapping[str, Any]) -> str:
    """What was added to an entry for the cfg's own value; empty if nothing was."""
    if parameter.choices:
        is_new = len(parameter.choices) > len(content["choices"])
        return f"{parameter.start}, the value of the cfg, is one more choice" if is_new else ""
    if (parameter.low, parameter.high) == (content["low"], content["high"]):
        return ""
    return f"the range is extended to {parameter.start:g}, the value of the cfg"
