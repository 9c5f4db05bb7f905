"""Parser for the subset of YAML that ``data.yaml`` files use: keys, lists and mappings, in block or flow style.

    path: ../datasets/coco8
    train: images/train            # a folder, a list file, or a list of them
    names: {0: person, 1: 'traffic light'}     or  [person, bicycle]  or one per line, as ``0: person`` or ``- person``

Anchors, tags and multi-line strings are not supported: the error names the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .._typing import StrPath
from ..errors import DataError
from ..text_files import read_lines

Value = str | list[str] | dict[str, str]

_ITEM = re.compile(r"""\s*((?:(?<!\w)'(?:[^']|'')*'|(?<!\w)"[^"]*"|(?<=\w)['"]|[^,'"\[\]{}])+)\s*(?:,|$)""")


def read_data_yaml(path: StrPath) -> dict[str, Value]:
    """Return the keys of the top level. Raises DataError, with the line, for YAML that is not supported."""
    entries: dict[str, Value] = {}
    block = ""
    for location, indent, text in _join_brackets(path):
        is_item = text == "-" or text.startswith("- ")
        if (indent or is_item) and block:
            _add_line(entries, block, text, is_item, location)
            continue
        key, value = _split_pair(text, location)
        block = "" if value else key
        entries[key] = _parse_value(value, location) if value else ""
    return entries


def _join_brackets(path: StrPath) -> Iterator[tuple[str, int, str]]:
    """Yield location, indentation and text of each line that is not blank; brackets over several lines are joined."""
    pending = ""
    pending_location = ""
    pending_indent = 0
    for number, raw in enumerate(read_lines(path), start=1):
        line = _strip_comment(raw).rstrip()
        if not line.strip() or (not pending and line.strip() in ("---", "...")):
            continue
        if not pending:
            pending_location = f"{path}:{number}"
            pending_indent = len(line) - len(line.lstrip())
        pending = f"{pending} {line.strip()}".strip()
        if sum(map(pending.count, "[{")) <= sum(map(pending.count, "]}")):
            yield pending_location, pending_indent, pending
            pending = ""
    if pending:
        raise DataError(f"{pending_location}: unclosed bracket: {pending[:60]!r}")


def _strip_comment(line: str) -> str:
    """Return the line up to a ``#`` that follows a blank and is not quoted; a quote opens at the start of a value."""
    quote = ""
    before = " "
    for position, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and before in " \t[{,":
            quote = letter
        elif letter == "#" and before in " \t":
            return line[:position]
        before = letter
    return line


def _add_line(entries: dict[str, Value], block: str, text: str, is_item: bool, location: str) -> None:
    """Add a line of an indented list or mapping."""
    content = entries[block]
    if is_item:
        content = content if isinstance(content, list) else []
        content.append(_unquote(text[1:]))
    else:
        key, value = _split_pair(text, location)
        content = content if isinstance(content, dict) else {}
        content[key] = _unquote(value)
    entries[block] = content


def _split_pair(text: str, location: str) -> tuple[str, str]:
    match = re.match(r"""('[^']*'|"[^"]*"|[^:]+?)\s*:(?:\s+(.*)|)$""", text)
    if match is None or text[0] in "&*!|>%@[{":
        raise DataError(f"{location}: expected `key: value`, found {text[:60]!r}")
    return _unquote(match[1]), match[2] or ""


def _parse_value(text: str, location: str) -> Value:
    inner = text[1:-1].strip().removesuffix(",")
    if text[0] + text[-1] not in ("[]", "{}"):
        if text[0] in "[{&*!|>":
            raise DataError(f"{location}: expected plain text, a list or a mapping, found {text[:60]!r}")
        return _unquote(text)
    items = []
    position = 0
    while position < len(inner):
        match = _ITEM.match(inner, position)
        if match is None:
            raise DataError(f"{location}: expected items between commas, found {inner[position : position + 60]!r}")
        items.append(match[1])
        position = match.end()
    if text[0] == "[":
        return [_unquote(item) for item in items]
    return {key: _unquote(value) for key, value in (_split_pair(item.strip(), location) for item in items)}


def _unquote(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1]
    return text
