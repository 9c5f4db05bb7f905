"""``find_extensions``: what a cfg has and C Darknet does not know."""

from __future__ import annotations

import enum
from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

from . import Config, schema


class Extension(NamedTuple):
    """A section, key or value of a cfg that C Darknet does not know."""

    location: str  # "my.cfg:12: [net]"
    what: str

    def __str__(self) -> str:
        return f"{self.location} {self.what}"


def find_extensions(
    config: Config, options: Iterable[schema.Options], sections: Container[str] = ()
) -> Iterator[Extension]:
    """Yield what C Darknet does not know of a cfg, in the order of its lines.

    Args:
        config: the cfg.
        options: the options of its sections, in order: those of ``[net]``, then those of every layer.
        sections: names of sections that C does not know.
    """
    for section, values in zip(config.sections, options, strict=True):
        known = schema.keys(type(values))
        if section.name in sections:
            yield Extension(f"{config.path}:{section.line}: [{section.name}]", "is not a section of Darknet's")
        for entry in section.entries:
            place = f"{config.path}:{entry.line}: [{section.name}]"
            value = getattr(values, known[entry.key].name) if entry.key in known else None
            if value is not None and known[entry.key].metadata["extension"]:
                yield Extension(place, f"{entry.key}= is not a key of Darknet's, which ignores it")
            elif isinstance(value, enum.StrEnum):
                text = entry.value.partition("#")[0]
                if text != value or not getattr(value, "is_darknets", True):
                    yield Extension(place, f"{entry.key}={text} is not Darknet's, which takes another value")
