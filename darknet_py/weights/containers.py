"""Files that hold a dict with a state dict in it: .pt and .safetensors, written and read as one thing.

A .safetensors file has tensors under ``state_dict`` alone; what else the dict holds goes into the file's
metadata, which knows strings only: text as it is, the rest as JSON.
"""

from __future__ import annotations

import json
import os
import pathlib
import pickle
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from .._typing import StrPath
from ..errors import DarknetError, WeightsError
from ..files import atomic_write
from .diagnostics import foreign

SUFFIXES = (".pt", ".pth", ".safetensors")
_JSON = "[{0123456789-tfn"  # how the JSON of anything but a text starts


def is_container(path: StrPath) -> bool:
    """Whether the suffix says that a file is one."""
    return pathlib.Path(path).suffix.lower() in SUFFIXES


def write(path: StrPath, entries: Mapping[str, Any]) -> None:
    """Write plain values and, under ``state_dict``, tensors by name. Raises WeightsError."""
    try:
        if _is_safetensors(path):
            plain = {key: _text(value) for key, value in entries.items() if key != "state_dict"}
            content = _safetensors().save(dict(entries["state_dict"]), plain)
            with atomic_write(path) as file:
                file.write(content)
        else:
            with atomic_write(path) as file:
                torch.save({k: dict(v) if isinstance(v, Mapping) else v for k, v in entries.items()}, file)
    except OSError as error:
        raise WeightsError(f"{os.fspath(path)}: {error.strerror or error}") from error


def read(path: StrPath) -> Any:
    """The content of a .pt file, or of a .safetensors as such a dict, with no code run. Raises WeightsError."""
    name = os.fspath(path)
    try:
        if _is_safetensors(path):
            return _read_safetensors(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickles; what cannot be read raises
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
                f"{name}: refused: it holds more than tensors and plain values, and reading that would run code from "
                "the file. Save the state dict where the model comes from: torch.save(model.state_dict(), 'state.pt')"
            ) from error
        what = foreign(start)
        raise WeightsError(f"{name}: broken, or no file of torch.save" + (f": found {what}" if what else "")) from error


def _is_safetensors(path: StrPath) -> bool:
    return pathlib.Path(path).suffix.lower() == ".safetensors"


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise DarknetError("a .safetensors file needs the package safetensors: pip install safetensors") from error
    return safetensors.torch


def _read_safetensors(name: str) -> dict[str, Any]:
    safe_open = _safetensors().safe_open
    import safetensors

    try:
        with safe_open(name, framework="pt") as file:
            metadata: dict[str, str] = dict(file.metadata() or {})
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{name}: broken, or no safetensors file ({error})") from error
    return {key: _value(text) for key, text in metadata.items()} | {"state_dict": state}


def _text(value: Any) -> str:
    # Text is Unicode there; a cfg may have bytes in its comments that are none.
    text = value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""
    return text if isinstance(value, str) and _value(text) == text else json.dumps(value, ensure_ascii=False)


def _value(text: str) -> Any:
    if text[:1] in (*_JSON, '"'):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
