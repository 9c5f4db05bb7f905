"""Writing files: completely or not at all, and without changing what else a name stands for.

``atomic_write`` is how this package writes a file. The data goes into a temporary file that is renamed at the end, so
that a full disk or a kill leaves the old file. What the name stands for is kept:

* a symbolic link is followed; a device or pipe is written to;
* an existing file keeps its mode and owner, and is refused if it is not writable;
* a file that cannot be replaced gets the complete data copied into it: one with several names (hard links), one whose
  owner the process cannot set, a mount point. The space is reserved first, but a kill during the copy damages the file.

Temporary names are ``.darknet_py-*.tmp``, and the process that writes such a file locks it. So the first write of
another process into the same folder recognises the files that a killed process has left, and removes them.
"""

from __future__ import annotations

import errno
import os
import pathlib
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from ._typing import StrPath
from .errors import DarknetError, DataError
from .locks import HAS_LOCKS, hold, release, remove_if_unlocked

_TEMPORARY = re.compile(r"\.darknet_py-[0-9a-f]{16}\.tmp")
_NUL = "expected a file name, found a NUL character in it"
_URL = re.compile("[a-zA-Z][a-zA-Z0-9+.-]+:/")  # one slash: pathlib has removed the other
_NO_URL = "expected a local file or folder to write, found a URL: write a local one and upload it"
_searched: set[str] = set()  # folders in which this process has looked for left-over files


@contextmanager
def atomic_write(
    path: StrPath,
    mode: str = "wb",
    *,
    error: type[DarknetError] = DataError,
    durable: bool = False,
    **options: Any,
) -> Iterator[IO[Any]]:
    """Open a file for writing that replaces ``path`` at the end of the block, or is removed if the block raises.

    Args:
        path: the file to write.
        mode: ``"w"`` or ``"wb"``.
        error: what is raised if the file cannot be written.
        durable: end the block only when the file is on the disk, so that a crash of the machine does not damage it.
        **options: those of ``open``, for example ``encoding``.

    Raises:
        DarknetError: of type ``error``; the folder or file cannot be written, or the disk is full.
    """
    try:
        target = _resolve(path)
        if target is None:
            with open(path, mode, **options) as file:
                yield file
            return
        folder = os.path.dirname(target)
        status = _writable_status(target)
        with _temporary(_temporary_folder(folder, status), private=status is not None) as temporary:
            with open(temporary, mode, **options) as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            _move(temporary, target, status)
        if durable:
            _sync_folder(folder)
    except OSError as failure:
        raise error(f"{os.fspath(path)}: {failure.strerror or failure}") from failure


def create_folder(path: StrPath) -> pathlib.Path:
    """Create a folder and those above it, if absent. Raises DataError; OutputError for a URL."""
    refuse_url(path)
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise DataError(f"{folder}: {getattr(error, 'strerror', None) or error}") from error
    return folder


@contextmanager
def temporary_folder(parent: StrPath) -> Iterator[pathlib.Path]:
    """Create a folder in ``parent`` that is removed at the end of the block. Raises OSError.

    If the process is killed before, the next one that writes into ``parent`` removes it.
    """
    remove_leftovers(parent)
    with _temporary(os.fspath(parent), directory=True) as path:
        yield pathlib.Path(path)


def replace(source: StrPath, path: StrPath) -> None:
    """Move a complete file, of the same folder or one of its ``temporary_folder``, to ``path``. Raises OSError.

    ``path`` keeps what ``atomic_write`` keeps. Where that cannot be replaced, the data is copied.
    """
    target = _resolve(path)
    if target is not None:
        _move(source, target, _writable_status(target))
        return
    with open(source, "rb") as data, open(path, "wb") as file:
        shutil.copyfileobj(data, file)


def remove_leftovers(folder: StrPath) -> None:
    """Remove the temporary files that killed processes have left in a folder; a process looks once into each."""
    name = os.path.abspath(folder)
    if not HAS_LOCKS or name in _searched:
        return
    _searched.add(name)
    with suppress(OSError), os.scandir(name) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name):
                with suppress(OSError):
                    remove_if_unlocked(entry.path)


class OutputError(DataError):
    """An output that would replace an input, or another output."""


def refuse_url(output: StrPath) -> None:
    """Raise OutputError for a URL, of which a local folder ``https:`` would be made."""
    if _URL.match(os.fspath(output)):
        raise OutputError(f"{os.fspath(output)}: {_NO_URL}")


def check_outputs(outputs: Iterable[StrPath | None], inputs: Iterable[StrPath | None]) -> None:
    """Refuse to write where something is read.

    Args:
        outputs: files to be written; None and "-" (stdout) are skipped.
        inputs: files that are read, or that the user needs as they are; None and what is not a file are skipped. They
            are looked at only if an output exists.

    Raises:
        OutputError: an output is, possibly through links, one of ``inputs`` or another output, or a URL. Devices and
            pipes are no files in this sense.
    """
    existing: dict[tuple[int, int], StrPath] = {}
    absent: set[str] = set()
    folders: dict[str, str] = {}
    for path in (path for path in outputs if path and path != "-"):
        if "\0" in os.fspath(path):
            raise OutputError(f"{os.fspath(path)}: {_NUL}")
        refuse_url(path)
        identity = _identity(path)
        if identity is None:
            folder, name = os.path.split(path)
            key = os.path.join(folders.setdefault(folder, os.path.realpath(folder)), name)
            is_repeated = key in absent
            if not os.path.exists(path):
                absent.add(key)
        else:
            is_repeated = identity in existing
            existing[identity] = path
        if is_repeated:
            raise OutputError(f"{os.fspath(path)}: named as two outputs: expected a file for each")
    if not existing:
        return
    for path in (path for path in inputs if path):
        output = existing.get(_identity(path) or (0, 0))
        if output is not None:
            raise OutputError(
                f"{os.fspath(output)}: writing it would replace the input {os.fspath(path)}: expected another name"
            )


def _identity(path: StrPath) -> tuple[int, int] | None:
    """Device and inode of a regular file; None for anything else."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _resolve(path: StrPath) -> str | None:
    """The file to replace, symbolic links followed; None for a device, a pipe or an open file such as /dev/stdout."""
    name = os.path.abspath(path)
    if "\0" in name:
        raise OSError(errno.EINVAL, _NUL)
    if _URL.match(os.fspath(path)):
        raise OSError(errno.EINVAL, _NO_URL)
    try:
        is_file = stat.S_ISREG(os.stat(name).st_mode)
    except FileNotFoundError:
        is_file = True  # a new one
    if not is_file:
        return None
    while os.path.islink(name):
        folder = os.path.realpath(os.path.dirname(name))
        if folder.startswith("/proc/"):  # a link to an open file
            return None
        name = os.path.join(folder, os.readlink(name))
    return os.path.realpath(name)


def _writable_status(target: str) -> os.stat_result | None:
    """The status of an existing file, None for a new one. Raises OSError if it must not be written."""
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if not os.access(target, os.W_OK):
        raise OSError(errno.EACCES, "the file is write-protected")
    return status


def _temporary_folder(folder: str, status: os.stat_result | None) -> str:
    """The folder of a temporary file: that of the target, or the system's if only the target is writable."""
    if status is not None and not os.access(folder, os.W_OK):
        return tempfile.gettempdir()
    remove_leftovers(folder)
    return folder


@contextmanager
def _temporary(folder: str, *, directory: bool = False, private: bool = False) -> Iterator[str]:
    """A new file or folder, locked, which is removed at the end of the block if it is still there."""
    held = None
    while held is None:
        name = os.path.join(folder, f".darknet_py-{secrets.token_hex(8)}.tmp")
        if directory:
            os.mkdir(name)
        else:
            # 0666 less the umask, as any new file; 0600 until it replaces a file, whose mode it then gets.
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if private else 0o666))
        held = hold(name)  # None: another process has taken it for a left-over file and removed it
    try:
        yield name
    finally:
        if directory:
            shutil.rmtree(name, ignore_errors=True)
        else:
            with suppress(FileNotFoundError):
                os.unlink(name)
        release(held)


def _move(source: StrPath, target: str, status: os.stat_result | None) -> None:
    """Replace a file, which keeps its mode and owner, or copy the data into one that cannot be replaced."""
    if status is not None:
        if status.st_nlink > 1 or not _copy_owner(source, status):
            _copy_into(source, target)
            return
        os.chmod(source, stat.S_IMODE(status.st_mode))
    try:
        os.replace(source, target)
    except OSError as error:
        if status is None or error.errno not in (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM):
            raise
        _copy_into(source, target)


def _copy_owner(source: StrPath, status: os.stat_result) -> bool:
    """Give a file the owner and group of another; False if that is not permitted."""
    own = os.stat(source)
    if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
        try:
            os.chown(source, status.st_uid, status.st_gid)
        except PermissionError:
            return False
    return True


def _copy_into(source: StrPath, target: str) -> None:
    """Overwrite the content of a file."""
    with open(source, "rb") as data, open(target, "r+b") as file:
        size = os.fstat(data.fileno()).st_size
        if size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        shutil.copyfileobj(data, file)
        file.truncate(size)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: str) -> None:
    """Write a folder's list of names to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
