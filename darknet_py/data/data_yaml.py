"""The part of YAML that ``data.yaml`` files are written in: keys, lists and mappings, plain or in brackets.

    path: ../datasets/coco8
    train: images/train            # a folder, a list file, or a list of them
    names: {0: person, 1: 'traffic light'}     or  [person, bicycle]  or one a line, as ``0: person`` or ``- person``

No anchors, tags or text over several lines: such files are refused with the line that is not understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .._typing import StrPath
from ..errors import DataError
from .labels import lines

Value = str | list[str] | dict[str, str]

_ITEM = re.compile(r"""\s*((?:(?<!\w)'(?:[^']|'')*'|(?<!\w)"[^"]*"|(?<=\w)['"]|[^,'"\[\]{}])+)\s*(?:,|$)""")


def read(path: StrPath) -> dict[str, Value]:
    """The top level's keys. Raises DataError with the line that is not understood."""
    found: dict[str, Value] = {}
    block = ""
    for place, indent, text in _statements(path):
        is_item = text == "-" or text.startswith("- ")
        if (indent or is_item) and block:
            _add(found, block, text, is_item, place)
            continue
        key, value = _pair(text, place)
        block = "" if value else key
        found[key] = _value(value, place) if value else ""
    return found


def _statements(path: StrPath) -> Iterator[tuple[str, int, str]]:
    """Place, indentation and text of each line that says something; brackets over several lines are joined."""
    held, held_place, held_indent = "", "", 0
    for number, raw in enumerate(lines(path), start=1):
        line = _uncommented(raw).rstrip()
        if not line.strip() or (not held and line.strip() in ("---", "...")):
            continue
        if not held:
            held_place, held_indent = f"{path}:{number}", len(line) - len(line.lstrip())
        held = f"{held} {line.strip()}".strip()
        if sum(map(held.count, "[{")) <= sum(map(held.count, "]}")):
            yield held_place, held_indent, held
            held = ""
    if held:
        raise DataError(f"{held_place}: a bracket that is not closed: {held[:60]!r}")


def _uncommented(line: str) -> str:
    """The line up to a ``#`` that follows a blank and is not quoted; a quote opens where a value begins."""
    quote, before = "", " "
    for place, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and before in " \t[{,":
            quote = letter
        elif letter == "#" and before in " \t":
            return line[:place]
        before = letter
    return line


def _add(found: dict[str, Value], block: str, text: str, is_item: bool, place: str) -> None:
    """A line of an indented list or mapping."""
    held = found[block]
    if is_item:
        held = held if isinstance(held, list) else []
        held.append(_plain(text[1:]))
    else:
        key, value = _pair(text, place)
        held = held if isinstance(held, dict) else {}
        held[key] = _plain(value)
    found[block] = held


def _pair(text: str, place: str) -> tuple[str, str]:
    match = re.match(r"""('[^']*'|"[^"]*"|[^:]+?)\s*:(?:\s+(.*)|)$""", text)
    if match is None or text[0] in "&*!|>%@[{":
        raise DataError(f"{place}: expected `key: value`, found {text[:60]!r}")
    return _plain(match[1]), match[2] or ""


def _value(text: str, place: str) -> Value:
    inner = text[1:-1].strip().removesuffix(",")
    if text[0] + text[-1] not in ("[]", "{}"):
        if text[0] in "[{&*!|>":
            raise DataError(f"{place}: expected plain text, a list or a mapping, found {text[:60]!r}")
        return _plain(text)
    items, at = [], 0
    while at < len(inner):
        match = _ITEM.match(inner, at)
        if match is None:
            raise DataError(f"{place}: expected items between commas, found {inner[at : at + 60]!r}")
        items.append(match[1])
        at = match.end()
    if text[0] == "[":
        return [_plain(item) for item in items]
    return {key: _plain(value) for key, value in (_pair(item.strip(), place) for item in items)}


def _plain(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1]
    return text
