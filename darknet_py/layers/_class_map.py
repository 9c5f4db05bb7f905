"""A head's ``map=`` file: for every class of another list, its number among the head's own."""

from __future__ import annotations

import pathlib

import torch
from torch import Tensor

from ..errors import DataError


def read_map(path: pathlib.Path, classes: int) -> Tensor:
    """The numbers of a file, one a line. Raises DataError for what is no class of the network."""
    numbers = []
    try:
        lines = path.read_text().split("\n")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    for line, text in enumerate(lines, start=1):
        if text.strip():
            if not text.strip().isdigit() or int(text) >= classes:
                raise DataError(f"{path}:{line}: expected a class number in 0..{classes - 1}, got {text!r}")
            numbers.append(int(text))
    return torch.tensor(numbers)
