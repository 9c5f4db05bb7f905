"""Locks between processes: a lock belongs to an open file, and ends with the process that holds it.

Windows has no such locks, nor have some network file systems; there everything counts as locked by who asks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ._typing import StrPath
from .errors import DataError

try:
    import fcntl
except ImportError:  # Windows
    HAS_LOCKS = False
else:
    HAS_LOCKS = True
_NO_DESCRIPTOR = -1  # held without a lock


@contextmanager
def lock(path: StrPath, busy: str) -> Iterator[None]:
    """Hold a lock file, which is removed at the end of the block.

    Args:
        path: the lock file; created if absent.
        busy: the message if another process holds it.

    Raises:
        DataError: another process holds it, or the file cannot be created.
    """
    held = None
    while held is None:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))
        except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
            raise DataError(f"{os.fspath(path)}: {getattr(error, 'strerror', None) or error}") from error
        held = hold(path)
        if held is None and os.path.exists(path):
            raise DataError(busy)
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(path)
        release(held)


def hold(path: StrPath, *, certain: bool = False) -> int | None:
    """Lock an existing file or folder.

    Args:
        path: the file or folder.
        certain: return None where there are no locks, too.

    Returns:
        What ``release`` takes; None if another process has locked the file, or removed it meanwhile.
    """
    if not HAS_LOCKS:
        return None if certain else _NO_DESCRIPTOR
    try:
        descriptor = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:  # a file system without locks
        if not certain:
            return descriptor
        os.close(descriptor)
        return None
    try:
        is_there = os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        is_there = False
    if is_there:
        return descriptor
    os.close(descriptor)
    return None


def release(held: int) -> None:
    """Release a lock of ``hold``."""
    if held != _NO_DESCRIPTOR:
        os.close(held)


def remove_if_unlocked(path: StrPath) -> None:
    """Remove a file or folder, unless another process may have locked it. Raises OSError."""
    held = hold(path, certain=True)
    if held is None:
        return
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    finally:
        release(held)
