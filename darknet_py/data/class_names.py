"""Class names as users give them: a file, a sequence, or none."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .._typing import StrPath
from ..errors import DataError
from .data_file import read_names

ClassNames = StrPath | Sequence[str] | None


def resolve_class_names(names: ClassNames, classes: int, *, exact: bool = True) -> list[str]:
    """Return class names from a file (one a line) or a sequence; None gives the class numbers as text.

    Raises DataError where the number of names is not ``classes``, unless ``exact`` is False.
    """
    if names is None:
        return [str(number) for number in range(classes)]
    if isinstance(names, str | os.PathLike):
        prefix = f"{os.fspath(names)}: "
        resolved = list(read_names(names))
    else:
        prefix = ""
        resolved = list(names)
    if exact and len(resolved) != classes:
        raise DataError(f"{prefix}{len(resolved)} class names, but the network has {classes} classes")
    return resolved
