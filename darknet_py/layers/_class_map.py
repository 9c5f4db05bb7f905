"""A head's ``map=`` file: for every class of another list, its number among the head's own."""

from __future__ import annotations

import pathlib

import torch
from torch import Tensor

from ..errors import DataError


def read_map(path: pathlib.Path, classes: int) -> Tensor:
    """The numbers of a file, one a line. Raises DataError for what is no class of the network."""
    numbers = []
    for line, text in enumerate(path.read_text().split("\n"), start=1):
        if text.strip():
            if not text.strip().isdigit() or int(text) >= classes:
                raise DataError(f"{path}:{line}: expected a class number in 0..{classes - 1}, got {text!r}")
            numbers.append(int(text))
    return torch.tensor(numbers)
