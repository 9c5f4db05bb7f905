"""Atomic writing of files."""

from __future__ import annotations

import os
import pathlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from ._typing import StrPath


@contextmanager
def atomic_write(path: StrPath, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Open a file for writing that replaces ``path`` at the end of the block, or is removed if the block raises.

    The data is written to a temporary file in the same folder, so that a full disk or a crash leaves the old file.

    Args:
        path: the file to write.
        mode: ``"w"`` or ``"wb"``.
        **options: those of ``open``, for example ``encoding``.

    Raises:
        OSError: as ``open`` raises it, with the name ``path``.
    """
    target = pathlib.Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        # Created by open, not by tempfile, so that the permissions are those of any new file (0666 less the umask).
        file = open(temporary, mode.replace("w", "x"), **options)  # noqa: SIM115 (closed below)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(target)) from error
    try:
        with file:
            yield file
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
