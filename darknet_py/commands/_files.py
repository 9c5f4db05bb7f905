"""The files of a command line: swapped and forgotten ones are recognised by their suffixes."""

from __future__ import annotations

import argparse
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..errors import DataError

CFG, WEIGHTS, DATA, IMAGE = "a cfg", "weights", "a data set", "an image or video"
_SUFFIXES = {
    ".cfg": CFG,
    ".weights": WEIGHTS,
    ".names": "class names",
    **dict.fromkeys((".data", ".yaml", ".yml"), DATA),
}
_REORDERED = 5  # arguments of which the right order is looked for
_BACKBONE = re.compile(r"\.conv\.\d+$")  # yolov4.conv.137
# Kinds of the files by destination of the argument, in all verbs and functions of Darknet.
KINDS = {
    **dict.fromkeys(("cfg", "model"), (CFG,)),
    **dict.fromkeys(("image", "video", "sources"), (IMAGE,)),
    "weights": (WEIGHTS,),
    "data": (DATA,),
}


class Place(NamedTuple):
    """A positional argument of a command line.

    Attributes:
        name: its name, as in the usage.
        kinds: kinds of file that it may be; none: it is not a file to read.
        word: the word in the line, such as the path of the file.
    """

    name: str
    kinds: tuple[str, ...]
    word: str


def check_kinds(command: str, places: Sequence[Place]) -> None:
    """Raise DataError if the suffix of a file is that of another kind than its place expects.

    Args:
        command: the words before the arguments, which the message repeats.
        places: the arguments in the order of the line.
    """
    words = [place.word for place in places]
    for place in places:
        if _fits(place.word, place):
            continue
        orders = itertools.permutations(words) if len(words) <= _REORDERED else ()
        right = next((order for order in orders if all(map(_fits, order, places))), None)
        line = f"; did you mean: darknet-py {command} {' '.join(right)}" if right else ""
        expected = " or ".join(place.kinds)
        raise DataError(f"{place.word}: expected {expected} as {place.name}, found {_kind(place.word)}{line}")


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Apply ``check_kinds`` to the positional arguments of a verb, whose parser it is."""
    verb = parser.prog.partition(" ")[2]
    check_kinds(verb, list(_places(verb, parser, args)))


def _places(verb: str, parser: argparse.ArgumentParser, args: argparse.Namespace) -> Iterator[Place]:
    for action in parser._actions:
        value = getattr(args, action.dest, None)
        if action.option_strings or value is None:
            continue
        if action.dest == "sources":
            yield from _source_places(verb, args, value)
        elif verb.endswith("check"):  # also takes DATA and CFG
            yield Place(action.dest.upper(), (CFG, DATA) if action.dest == "model" else (WEIGHTS, CFG), value)
        elif not isinstance(value, list):
            yield Place(action.dest.upper(), KINDS.get(action.dest, ()), str(value))


def _source_places(verb: str, args: argparse.Namespace, sources: Sequence[str]) -> Iterator[Place]:
    """Of ``detect``, ``explain`` and ``visualize`` the first source is WEIGHTS if MODEL is a cfg."""
    has_weights = (
        verb in ("detect", "explain", "visualize") and not args.fetch and CFG in map(_kind, (args.model, *sources))
    )
    for number, source in enumerate(sources):
        is_weights = number == 0 and has_weights
        yield Place("WEIGHTS" if is_weights else "SOURCE", (WEIGHTS if is_weights else IMAGE,), source)


def _fits(word: str, place: Place) -> bool:
    return not place.kinds or _kind(word) in (None, *place.kinds)


def _kind(path: str) -> str | None:
    """The kind of file that a path names; None if it may be several."""
    from ..hub.huggingface import is_address
    from ..text_files import IMAGE_SUFFIXES
    from ..video.capture import VIDEO_SUFFIXES

    if os.path.isdir(path) or is_address(path):
        return None
    if _BACKBONE.search(path):
        return WEIGHTS
    _, dot, suffix = path.lower().rpartition(".")
    if dot + suffix in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES):
        return IMAGE
    return _SUFFIXES.get(dot + suffix)
