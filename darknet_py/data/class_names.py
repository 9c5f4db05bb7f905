"""Class names as users give them: a file, a sequence, or none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from .._typing import StrPath
from ..errors import DataError, did_you_mean
from .data_file import read_names

ClassNames = StrPath | Sequence[str] | Mapping[int, str] | None


def resolve_class_names(names: ClassNames, classes: int, *, exact: bool = True) -> list[str]:
    """Return class names from a file (one a line), a sequence or a mapping {0: ..., 1: ...}; None gives the numbers.

    Raises DataError where the number of names is not ``classes``, unless ``exact`` is False, or a mapping lacks one.
    """
    if names is None:
        return [str(number) for number in range(classes)]
    prefix = ""
    if isinstance(names, str | os.PathLike):
        prefix = f"{os.fspath(names)}: "
        resolved = list(read_names(names))
    elif isinstance(names, Mapping):
        by_number = {int(number): str(name) for number, name in names.items()}
        if sorted(by_number) != list(range(len(by_number))):
            raise DataError(f"names: expected the classes 0..{len(names) - 1} as keys, got {sorted(names)!r:.80}")
        resolved = [by_number[number] for number in range(len(by_number))]
    else:
        resolved = list(names)
    if exact and len(resolved) != classes:
        raise DataError(f"{prefix}{len(resolved)} class names, but the network has {classes} classes")
    return resolved


def class_numbers(classes: Iterable[str | int], names: Sequence[str]) -> list[int]:
    """Return the numbers of classes given by name or number; a name that is a number counts as a name.

    Args:
        classes: names or numbers.
        names: the names of all classes, by number.

    Raises:
        DataError: there is no such class.
    """
    by_name = {name: number for number, name in enumerate(names)}
    numbers = []
    for given in classes:
        text = str(given)
        if isinstance(given, str) and text in by_name:
            numbers.append(by_name[text])
        elif text.isdecimal() and int(text) < len(names):
            numbers.append(int(text))
        else:
            hint = did_you_mean(text, by_name)
            raise DataError(f"classes: expected class names or numbers in 0..{len(names) - 1}, got {text!r}{hint}")
    return numbers


def selected_classes(
    classes: Iterable[str | int] | None, skip_classes: Iterable[str | int], names: Sequence[str]
) -> list[int]:
    """Return the numbers of ``classes`` (None: all) without ``skip_classes``, each once; see ``class_numbers``."""
    kept = range(len(names)) if classes is None else class_numbers(classes, names)
    skipped = set(class_numbers(skip_classes, names))
    return [number for number in dict.fromkeys(kept) if number not in skipped]
