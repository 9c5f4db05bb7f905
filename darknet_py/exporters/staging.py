"""Exports of several files into a folder: all of them, or none."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from contextlib import contextmanager

from .._typing import StrPath
from ..errors import DarknetError
from ..files import create_folder, replace, temporary_folder


@contextmanager
def staging_folder(folder: StrPath) -> Iterator[pathlib.Path]:
    """Give an empty folder whose files move to ``folder`` at the end of the block; if it raises, none does.

    ``folder`` is created. Folders inside it are kept, and files of the same names are replaced.

    Raises:
        DarknetError: The files cannot be written.
    """
    target = create_folder(folder)
    try:
        with temporary_folder(target) as staging:
            yield staging
            for file in sorted(path for path in staging.rglob("*") if path.is_file()):
                place = target / file.relative_to(staging)
                create_folder(place.parent)
                replace(file, place)
    except OSError as error:
        raise DarknetError(f"{target}: {error.strerror or error}") from error
