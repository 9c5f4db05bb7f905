"""Read the lines of lists, label files and annotations."""

from __future__ import annotations

import os
import pathlib

from .._typing import StrPath
from ..errors import DataError


def read_lines(path: StrPath) -> list[str]:
    """Return the lines of a text file, without line ends. Raises DataError if it cannot be read."""
    try:
        return pathlib.Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
    except OSError as error:
        raise DataError(f"{os.fspath(path)}: {error.strerror or error}") from error
