"""Read and write .pt and .safetensors files that contain a dict with a state dict.

In a .safetensors file the tensors are those of ``state_dict``; all other entries are stored in the metadata, which can
hold strings only: text as it is, everything else as JSON.
"""

from __future__ import annotations

import json
import os
import pathlib
import pickle
import pickletools
import stat
import struct
import warnings
import zipfile
from collections.abc import Mapping
from typing import IO, Any, BinaryIO

import torch

from .._typing import StrPath
from ..errors import CheckpointError, DarknetError, WeightsError
from ..files import atomic_write
from .binary import read_exactly
from .diagnostics import identify_format

SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
_MAX_TUPLE = 1_000_000  # values in a tuple, counted as often as they occur
_PICKLES = 5  # in the format of torch.save before 1.6: magic number, protocol, system, content, keys
_JSON = "[{0123456789-tfn"  # first characters of JSON other than strings


def is_container(path: StrPath) -> bool:
    """Whether a file is a .pt, .pth or .safetensors file, by its suffix."""
    return pathlib.Path(path).suffix.lower() in SUFFIXES


def is_safetensors(path: StrPath) -> bool:
    """Whether a file is a .safetensors file, by its suffix."""
    return pathlib.Path(path).suffix.lower() == ".safetensors"


def write(path: StrPath, entries: Mapping[str, Any]) -> None:
    """Write a file.

    Args:
        path: the file; its suffix decides the format.
        entries: plain values, and tensors by name under ``state_dict``.

    Raises:
        WeightsError: the file cannot be written.
    """
    if is_safetensors(path):
        plain = {key: _to_text(value) for key, value in entries.items() if key != "state_dict"}
        encoded = _safetensors().save(dict(entries["state_dict"]), plain)
        with atomic_write(path, error=WeightsError, durable=True) as file:
            file.write(encoded)
    else:
        with atomic_write(path, error=WeightsError, durable=True) as file:
            archive = _LateErrors(file)
            content = {key: dict(value) if isinstance(value, Mapping) else value for key, value in entries.items()}
            torch.save(content, archive)  # type: ignore[arg-type]
            archive.check()


def read(path: StrPath) -> Any:
    """Read a file without running code from it (``weights_only=True``).

    Sizes that the file states are compared with its own before anything is allocated.

    Returns:
        The content of a .pt file, or a dict of the entries of a .safetensors file, tensors under ``state_dict``.

    Raises:
        CheckpointError: the file cannot be read, or contains more than tensors and plain values.
    """
    name = os.fspath(path)
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):
            raise CheckpointError(f"{name}: expected a regular file")
        with open(name, "rb") as file:
            return _read_safetensors(file, name) if is_safetensors(path) else _read_pickle(file, name)
    except (OSError, ValueError) as error:
        if isinstance(error, DarknetError):
            raise
        raise CheckpointError(f"{name}: {getattr(error, 'strerror', None) or error}") from error


def _read_pickle(file: BinaryIO, name: str) -> Any:
    start = file.read(64)
    file.seek(0)
    _check_sizes(file, name, is_zip=start.startswith(b"PK"))
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickles
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # for a damaged file, the unpickler raises what its operations happen to raise
        if start.startswith((b"PK\x03\x04", b"\x80")) and isinstance(error, pickle.UnpicklingError):
            raise CheckpointError(
                f"{name}: expected tensors and plain values, found other objects, which would run code from the file. "
                "Save the state dict instead: torch.save(model.state_dict(), 'state.pt')"
            ) from error
        kind = identify_format(start) or "a damaged file"
        raise CheckpointError(f"{name}: expected a file of torch.save, found {kind}") from error


class _LateErrors:
    """A file for PyTorch's archive writer, which hides why a write has failed: ``check`` raises that error."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        """Write, unless an earlier write has failed. Returns the number of bytes in any case."""
        if self._error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self._error = error
        return memoryview(data).nbytes

    def flush(self) -> None:
        """PyTorch calls it; the file is flushed when it is closed."""

    def check(self) -> None:
        """Raise the OSError of the first write that has failed, if any."""
        if self._error is not None:
            raise self._error


def _check_sizes(file: BinaryIO, name: str, *, is_zip: bool) -> None:
    """Raise CheckpointError for a file that would need much more memory or time than its size suggests."""
    try:
        if not is_zip:
            for _ in range(_PICKLES):
                _check_tuples(file, name)
            return
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            size = os.fstat(file.fileno()).st_size
            if sum(entry.file_size for entry in entries) > size or any(entry.compress_type for entry in entries):
                raise CheckpointError(
                    f"{name}: expected entries without compression, as torch.save writes them, found ones that are "
                    f"larger than the file ({size} bytes) or compressed"
                )
            for entry in entries:
                if entry.filename.endswith("/data.pkl"):
                    with archive.open(entry) as content:
                        _check_tuples(content, name)
    except DarknetError:
        raise
    except (zipfile.BadZipFile, EOFError) as error:  # EOFError: an entry that ends after the file
        reason = str(error) or "an entry is cut off"
        raise CheckpointError(f"{name}: expected a file of torch.save, found a damaged file ({reason})") from error
    except (ValueError, LookupError, NotImplementedError, RuntimeError):
        return  # not a pickle: torch.load says what it is


def _check_tuples(file: Any, name: str) -> None:
    """Raise CheckpointError if the pickle at the file's position has a tuple of exponential size.

    Tuples of tuples that are shared are small in the file, but the hash of one takes time in proportion to all of its
    values; after 40 levels of two it takes days.
    """
    stack: list[int] = []  # for each object on the unpickler's stack, the number of its values
    marks: list[int] = []
    memo: dict[int, int] = {}
    for operation, argument, _ in pickletools.genops(file):
        before, after = operation.stack_before, operation.stack_after
        if operation.name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[int(argument or 0)])
        elif operation.name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[int(argument or 0)] = stack[-1]
        elif operation.name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif operation.name == "MARK":
            marks.append(len(stack))
        else:
            count = len(stack) - marks.pop() if pickletools.markobject in before else 0
            count += sum(kind not in (pickletools.markobject, pickletools.stackslice) for kind in before)
            values = [stack.pop() for _ in range(count)]
            is_tuple = operation.name.startswith("TUPLE")
            stack += [1 + sum(values) if is_tuple else 1] * len(after)
            if is_tuple and stack[-1] > _MAX_TUPLE:
                raise CheckpointError(f"{name}: expected plain values, found a tuple of more than {_MAX_TUPLE} values")


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise DarknetError(".safetensors files need safetensors: pip install 'darknet-torch[safetensors]'") from error
    return safetensors.torch


def _read_safetensors(file: BinaryIO, name: str) -> dict[str, Any]:
    library = _safetensors()
    # Read, not mapped into memory: a file that becomes shorter while it is mapped ends the process.
    content = read_exactly(file, os.fstat(file.fileno()).st_size)
    try:
        state = library.load(content)
        (size,) = struct.unpack("<Q", content[:8])
        metadata: dict[str, str] = json.loads(content[8 : 8 + size]).get("__metadata__") or {}
    except Exception as error:  # SafetensorError, and what reading of unknown dtypes raises
        raise CheckpointError(
            f"{name}: expected a safetensors file, found a damaged or other file ({error})"
        ) from error
    return {key: _from_text(text) for key, text in metadata.items()} | {"state_dict": state}


def _to_text(value: Any) -> str:
    # The metadata is UTF-8, while comments of a cfg may have other bytes.
    text = value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""
    return text if isinstance(value, str) and _from_text(text) == text else json.dumps(value, ensure_ascii=False)


def _from_text(text: str) -> Any:
    if text[:1] in (*_JSON, '"'):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text
