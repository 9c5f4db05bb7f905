"""Read and write .pt and .safetensors files that contain a dict with a state dict.

In a .safetensors file the tensors are those of ``state_dict``; all other entries are stored in the metadata, which can
hold strings only: text as it is, everything else as JSON.
"""

from __future__ import annotations

import json
import os
import pathlib
import pickle
import warnings
from collections.abc import Mapping
from typing import IO, Any

import torch

from .._typing import StrPath
from ..errors import DarknetError, WeightsError
from ..files import atomic_write
from .diagnostics import identify_format

SUFFIXES = (".pt", ".pth", ".safetensors")
_JSON = "[{0123456789-tfn"  # first characters of JSON other than strings


def is_container(path: StrPath) -> bool:
    """Whether a file is a .pt, .pth or .safetensors file, by its suffix."""
    return pathlib.Path(path).suffix.lower() in SUFFIXES


def write(path: StrPath, entries: Mapping[str, Any]) -> None:
    """Write a file.

    Args:
        path: the file; its suffix decides the format.
        entries: plain values, and tensors by name under ``state_dict``.

    Raises:
        WeightsError: the file cannot be written.
    """
    if _is_safetensors(path):
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

    Returns:
        The content of a .pt file, or a dict of the entries of a .safetensors file, tensors under ``state_dict``.

    Raises:
        WeightsError: the file cannot be read, or contains more than tensors and plain values.
    """
    name = os.fspath(path)
    try:
        if _is_safetensors(path):
            return _read_safetensors(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickles
            return torch.load(name, map_location="cpu", weights_only=True)
    except DarknetError:
        raise
    except OSError as error:
        raise WeightsError(f"{name}: {error.strerror or error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        with open(name, "rb") as file:
            start = file.read(64)
        if start.startswith((b"PK\x03\x04", b"\x80")) and isinstance(error, pickle.UnpicklingError):
            raise WeightsError(
                f"{name}: expected tensors and plain values, found other objects, which would run code from the file. "
                "Save the state dict instead: torch.save(model.state_dict(), 'state.pt')"
            ) from error
        kind = identify_format(start) or "a damaged file"
        raise WeightsError(f"{name}: expected a file of torch.save, found {kind}") from error


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


def _is_safetensors(path: StrPath) -> bool:
    return pathlib.Path(path).suffix.lower() == ".safetensors"


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise DarknetError(".safetensors files need the package safetensors: pip install safetensors") from error
    return safetensors.torch


def _read_safetensors(name: str) -> dict[str, Any]:
    safe_open = _safetensors().safe_open
    import safetensors

    try:
        with safe_open(name, framework="pt") as file:
            metadata: dict[str, str] = dict(file.metadata() or {})
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{name}: expected a safetensors file, found a damaged or other file ({error})") from error
    return {key: _from_text(text) for key, text in metadata.items()} | {"state_dict": state}


def _to_text(value: Any) -> str:
    # The metadata is UTF-8, while comments of a cfg may have other bytes.
    text = value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""
    return text if isinstance(value, str) and _from_text(text) == text else json.dumps(value, ensure_ascii=False)


def _from_text(text: str) -> Any:
    if text[:1] in (*_JSON, '"'):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
