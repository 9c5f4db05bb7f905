"""Files that are written whole or not at all: beside the target first, then renamed."""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from ._typing import StrPath


@contextmanager
def replacing(path: StrPath, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Open a file to write that becomes ``path`` when the block ends well, and is gone when it does not.

    ``options`` are those of ``open``. Raises OSError as ``open`` does, for the path that was asked for.
    """
    target = pathlib.Path(path)
    try:
        handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(target)) from error
    try:
        with open(handle, mode, **options) as file:
            yield file
        os.chmod(beside, 0o666 & ~_umask())
        os.replace(beside, target)
    except BaseException:
        pathlib.Path(beside).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
