"""Classes of labels as those of a network that has others or fewer: ``person=0,car=vehicle``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ..errors import DataError, did_you_mean
from ..text_files import read_lines, to_unicode

BY_NAME = "names"
MAP_CLASSES_HINT = "--map-classes (map_classes=) says which class is which"


def describe_mismatch(source: str, names: Sequence[str], classes: int) -> str:
    """Say that a data set has other classes than a network."""
    return f"{source}: {len(names)} class names, but the network has {classes} classes"


def parse_class_map(text: str, names: Sequence[str], to_names: Sequence[str], classes: int) -> dict[int, int]:
    """Parse a class map.

    Args:
        text: ``FROM=TO,FROM=TO,...``; a file with ``FROM=TO`` on each line; or ``names``: classes of equal names. FROM
            is a name or number of the data set's classes, TO of the network's. Classes not listed are left out.
        names: names of the data set's classes; may be empty.
        to_names: names of the network's classes; may be empty.
        classes: number of the network's classes.

    Returns:
        The network's class of each class that is listed.

    Raises:
        DataError: an entry is not of this form, names no class, or names one twice.
    """
    if text == BY_NAME:
        mapping = {number: to_names.index(name) for number, name in enumerate(names) if name in to_names}
        if not mapping:
            raise DataError(f"map-classes={BY_NAME}: found no name that the network and the data set have in common")
        return mapping
    is_file = os.path.isfile(text)
    entries = [to_unicode(line) for line in read_lines(text)] if is_file else text.split(",")
    mapping = {}
    for number, entry in enumerate(entries, start=1):
        if not entry.strip():
            continue
        location = f"{text}:{number}" if is_file else "map-classes"
        left, equals, right = (part.strip() for part in entry.rpartition("="))
        if not equals:
            raise DataError(f"{location}: expected FROM=TO, got {entry.strip()!r}")
        source = _find_class(left, names, None, f"{location}: class of the data set")
        if source in mapping:
            raise DataError(f"{location}: class {left!r} is there twice")
        mapping[source] = _find_class(right, to_names, classes, f"{location}: class of the network")
    if not mapping:
        raise DataError(f"{text or 'map-classes'}: expected FROM=TO, found nothing")
    return mapping


def resolve_class_map(
    text: str, names: Sequence[str], to_names: Sequence[str], classes: int
) -> tuple[dict[int, int], tuple[str, ...]]:
    """Return the map of ``parse_class_map``, and the network's class names: ``to_names``, else ``mapped_names``."""
    mapping = parse_class_map(text, names, to_names, classes)
    return mapping, tuple(to_names) or mapped_names(mapping, names, classes)


def _find_class(text: str, names: Sequence[str], classes: int | None, what: str) -> int:
    """The number of a class given by name or number."""
    if text in names:
        return list(names).index(text)
    limit = len(names) or None if classes is None else classes
    if text.isdecimal() and (limit is None or int(text) < limit):
        return int(text)
    expected = f"a number in 0..{limit - 1}" if limit else "a number"
    hint = f" or a name{did_you_mean(text, names)}" if names else ""
    raise DataError(f"{what}: expected {expected}{hint}, got {text!r}")


def mapped_names(mapping: Mapping[int, int], names: Sequence[str], classes: int) -> tuple[str, ...]:
    """Names of the network's classes by those of the first class of the data set that is mapped to each."""
    result = [str(number) for number in range(classes)]
    for source, target in sorted(mapping.items(), reverse=True):
        if source < len(names):
            result[target] = names[source]
    return tuple(result)
