"""Check the entries of a checkpoint against type annotations.

A checkpoint is read from a file that anything may have written. So before an entry is used, ``check`` compares it with
the annotation that describes it: of a dataclass field, a TypedDict key, or written out.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import CheckpointError

T = TypeVar("T")
_LIMIT = 2**64  # of integers: what a header or a counter can hold


def fields(kind: type[Any]) -> dict[str, Any]:
    """Return the annotations of a dataclass or TypedDict, by name."""
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else hints


def check_entries(content: Mapping[Any, Any], kind: type[Any], path: str, parent: str = "") -> dict[str, Any]:
    """Return the entries that a dataclass or TypedDict names, after checking them; others are ignored.

    A dataclass field with a default and a key of a TypedDict with ``total=False`` may be missing.

    Args:
        content: the entries of a file.
        kind: the dataclass or TypedDict.
        path: the file, for errors.
        parent: name of the entry that contains these entries, with a dot.

    Raises:
        CheckpointError: an entry is missing or has another type, with its name.
    """
    optional = set(getattr(kind, "__optional_keys__", ()))
    if dataclasses.is_dataclass(kind):
        missing = dataclasses.MISSING
        optional = {f.name for f in dataclasses.fields(kind) if (f.default, f.default_factory) != (missing, missing)}
    checked = {}
    for name, annotation in fields(kind).items():
        if name in content:
            checked[name] = check(content[name], annotation, path, parent + name)
        elif name not in optional:
            raise CheckpointError(f"{path}: damaged: entry {parent + name} is missing")
    return checked


def check(value: Any, annotation: Any, path: str, entry: str) -> Any:
    """Return a value that has the annotated type; sequences become lists or tuples, and mappings dicts.

    Raises:
        CheckpointError: it has another type, or contains a value that has.
    """
    if not _is_instance(value, annotation):
        found = _describe_value(value)
        raise CheckpointError(f"{path}: entry {entry}: expected {_describe(annotation)}, found {found}")
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        kind = next(arg for arg in args if _is_instance(value, arg))
        return check(value, kind, path, entry)
    if dataclasses.is_dataclass(annotation) or typing.is_typeddict(annotation):
        return check_entries(value, annotation, path, f"{entry}.")
    if origin is Mapping:
        for key in value:
            check(key, args[0], path, f"{entry}: a key")
        return {key: check(item, args[1], path, f"{entry}.{key}") for key, item in value.items()}
    if origin is Sequence:
        return [check(item, args[0], path, f"{entry}[{index}]") for index, item in enumerate(value)]
    if origin is tuple:
        kinds = (args[0],) * len(value) if args[1:] == (...,) else args
        if len(kinds) != len(value):
            raise CheckpointError(f"{path}: entry {entry}: expected {len(kinds)} values, found {len(value)}")
        return tuple(
            check(item, kind, path, f"{entry}[{index}]")
            for index, (item, kind) in enumerate(zip(value, kinds, strict=True))
        )
    return value


def _is_instance(value: Any, annotation: Any) -> bool:
    """Whether a value has a type, without looking at what it contains."""
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union):
        return any(_is_instance(value, arg) for arg in typing.get_args(annotation))
    if annotation is Any:
        return True
    if annotation is Tensor:
        plain = isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta
        return plain and not (value.is_quantized or value.is_complex())
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LIMIT
    if annotation is float:
        return isinstance(value, float) or _is_instance(value, int)
    if origin is Mapping or dataclasses.is_dataclass(annotation) or typing.is_typeddict(annotation):
        return isinstance(value, Mapping)
    if origin in (Sequence, tuple):
        return isinstance(value, list | tuple)
    return isinstance(value, annotation)


def _describe(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(map(_describe, typing.get_args(annotation)))
    if origin is Mapping or dataclasses.is_dataclass(annotation) or typing.is_typeddict(annotation):
        return "a dict"
    if origin in (Sequence, tuple):
        return "a list"
    names = {
        Tensor: "a dense real tensor",
        int: "an integer below 2**64",
        float: "a number",
        str: "text",
        bool: "a bool",
    }
    return "None" if annotation is types.NoneType else names[annotation]


def _describe_value(value: Any) -> str:
    # The type only: text of the value may be long, or of exponential length where lists are shared.
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype}, {value.layout}".replace("torch.", "")
    return "None" if value is None else f"a value of type {type(value).__name__}"
