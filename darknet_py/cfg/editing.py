"""Edit the text of a cfg: values change, while comments, blanks and the order of lines stay."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .grammar import Config, Section, section_text

# "key = value # comment": group 1 is all before the value, group 2 all after it.
_ENTRY_LINE = re.compile(r"([^=]*=\s*)[^#]*?(\s*(?:#.*)?)", re.DOTALL)
_COMMENT = 98  # letters of a line of a comment


class Edit(NamedTuple):
    """A new value, and the reason for it, which becomes a comment."""

    value: str
    reason: str = ""


def replace_values(config: Config, edits: Mapping[int, Mapping[str, str]]) -> str:
    """Return the text of a cfg with other values.

    Of a repeated key the first line is changed, as it is the one that counts. A key that a section does not have is
    added after the last entry of the section.

    Args:
        config: a cfg with its text.
        edits: new values by key, by index of the section (0 is ``[net]``).
    """
    lines = config.text.split("\n")
    added: dict[int, list[str]] = {}  # by number of the line they follow
    for index, values in edits.items():
        section = config.sections[index]
        numbers = {entry.key: entry.line for entry in reversed(section.entries)}
        for key, value in values.items():
            if key in numbers:
                lines[numbers[key] - 1] = _replace_value(lines[numbers[key] - 1], value)
            else:
                last = max([section.line, *(entry.line for entry in section.entries)])
                added.setdefault(last, []).append(f"{key}={value}")
    for last in sorted(added, reverse=True):
        line_end = "\r" if lines[last - 1].endswith("\r") else ""
        lines[last:last] = [line + line_end for line in added[last]]
    return "\n".join(lines)


def replace_sections(config: Config, sections: Mapping[int, Section | None]) -> str:
    """Return the text of a cfg with other sections; comments before and after each of them stay.

    Args:
        config: a cfg with its text.
        sections: the new section, or None to remove one, by index of the old one (0 is ``[net]``).
    """
    lines = config.text.split("\n")
    for index in sorted(sections, reverse=True):
        old, new = config.sections[index], sections[index]
        end = max([old.line, *(entry.line for entry in old.entries)])
        line_end = "\r" if lines[old.line - 1].endswith("\r") else ""
        while new is None and end < len(lines) and not lines[end].strip():
            end += 1
        lines[old.line - 1 : end] = [] if new is None else [line + line_end for line in section_text(new).split("\n")]
    return "\n".join(lines)


def rewrite(config: Config, edits: Mapping[int, Mapping[str, Edit]], head: Sequence[str]) -> str:
    """Return the text of a cfg with other values and other comments: why each of these values is what it is.

    Of a repeated key the first line is kept, as it is the one that counts. The cfg's own comments are left out.

    Args:
        config: a cfg.
        edits: new values by key, by index of the section (0 is ``[net]``).
        head: lines of a comment before the first section.
    """
    parts = ["\n".join(f"# {line}" for line in head)]
    for index, section in enumerate(config.sections):
        values = {entry.key: Edit(entry.value) for entry in reversed(section.entries)}
        ordered = {key: values[key] for key in dict.fromkeys(entry.key for entry in section.entries)}
        lines = [f"[{section.name}]"]
        for key, edit in (ordered | dict(edits.get(index, {}))).items():
            lines += [f"# {line}" for line in textwrap.wrap(edit.reason, _COMMENT)]
            lines.append(f"{key}={edit.value}" if edit.value else key)
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _replace_value(line: str, value: str) -> str:
    match = _ENTRY_LINE.fullmatch(line)
    return match[1] + value + match[2] if match else line
