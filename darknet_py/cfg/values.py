"""Convert the text of a value to the type of an option.

Numbers are read as C's ``atoi`` and ``atof`` read them: up to the first character that is not part of a number
(``255#x`` is 255). What C misreads without a message is an error here: text that does not start with a number (0 in C),
and text that continues one, as in ``1e3`` for an integer (1), ``0,001`` (0), ``1.2.3`` and ``100k``. So is a number out
of its range. A fraction of an integer (``1.9``) is reported.
"""

from __future__ import annotations

import enum
import math
import pathlib
import re
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import did_you_mean, shorten

Limits = tuple[float | None, float | None]  # smallest and largest number that is accepted; None: that of C's type

_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf(inity)?|nan)", re.IGNORECASE | re.ASCII)
_DIGITS = 300  # of a number; a longer one is out of any range
_LIMITS: dict[Any, tuple[float, float]] = {int: (-(2**31), 2**31 - 1), float: (-3.4e38, 3.4e38)}  # C's int and float


def convert(hint: Any, text: str, raw: str, limits: Limits) -> tuple[Any, str]:
    """Convert ``text``, which is ``raw`` without blanks, to the type ``hint``; return the value and the rest."""
    if isinstance(hint, types.UnionType):  # of ``int | None``, None is an absent key
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _parse_member(hint, text), ""
    if typing.get_origin(hint) is tuple:
        head, hash_sign, tail = text.partition("#")
        element = typing.get_args(hint)[0]
        pairs = zip(head.split(","), raw.partition("#")[0].split(","), strict=True)
        return tuple(convert(element, part, written, limits)[0] for part, written in pairs), hash_sign + tail
    if hint is str:
        return text, ""
    if hint is pathlib.Path:
        return pathlib.Path(text.partition("#")[0]), ""
    return _parse_number(hint, text, raw, limits)


def _parse_number(kind: Any, text: str, raw: str, limits: Limits) -> tuple[Any, str]:
    """Parse the number that ``text`` starts with, as C does, and refuse what C would misread."""
    # C reads some flags with atof and others with atoi; any number other than zero is true.
    pattern, name = (_INTEGER, "an integer") if kind is int else (_FLOAT, "0 or 1" if kind is bool else "a number")
    match = pattern.match(text)
    if match is None:
        raise ValueError(f"expected {name}, got {shorten(text)}")
    number, rest = match.group(), text[match.end() :]
    if _continues_number(kind, number, rest, raw):
        raise ValueError(f"expected {name}, got {shorten(text.partition('#')[0])}, which Darknet reads as {number}")
    if kind is bool:
        return float(number) != 0, rest
    value = kind(number) if len(number) <= _DIGITS else kind(float(number[:_DIGITS]))
    low, high = (given if given is not None else bound for given, bound in zip(limits, _LIMITS[kind], strict=True))
    if not low <= value <= high:
        raise ValueError(f"expected {describe_range(kind, limits)}, got {shorten(number)}")
    return value, rest


def _continues_number(kind: Any, number: str, rest: str, raw: str) -> bool:
    """Whether the text after a number belongs to it: it follows without a blank, and is not an integer's fraction."""
    if not rest or not (rest[0].isalnum() or rest[0] in ".,+-_"):
        return False
    if kind is int and re.fullmatch(r"\.\d*", rest.partition("#")[0]):
        return False
    written = re.match(r"\s*" + r"\s*".join(map(re.escape, number)), raw)
    return written is None or not raw[written.end() : written.end() + 1].isspace()


def describe_range(kind: Any, limits: Limits) -> str:
    """Return the range of a number as text: ``1..1024``, ``0 or more``, ``an integer``."""
    low, high = limits
    if low is None or high is None:
        if low is not None:
            return f"{low:.10g} or more"
        return f"{_LIMITS[kind][0]:.10g}..{_LIMITS[kind][1] if high is None else high:.10g}"
    return f"{low:.10g} or more" if math.isinf(high) else f"{low:.10g}..{high:.10g}"


def _parse_member(kind: type[enum.Enum], text: str) -> enum.Enum:
    word = text.partition("#")[0]
    try:
        return kind(word)
    except ValueError:
        choices = [str(member.value) for member in kind]
        other_names: Callable[[], Iterable[str]] = getattr(kind, "other_names", tuple)
        suggestion = did_you_mean(word, [*choices, *other_names()])
        raise ValueError(f"expected one of {', '.join(choices)}, got {shorten(word)}{suggestion}") from None
