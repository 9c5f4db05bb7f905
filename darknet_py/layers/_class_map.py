"""The ``map=`` file of a head: the head's class number for every class of another list."""

from __future__ import annotations

import pathlib
import re

import torch
from torch import Tensor

from ..errors import DataError
from ..text_files import read_lines


def map_classes(targets: Tensor, class_map: Tensor | None, classes: int) -> Tensor:
    """Replace the labels' classes of targets by the head's, where there is a ``map=``.

    Args:
        targets: float [batch, targets, 6], (cx, cy, w, h, class, track), padded with zeros.
        class_map: int64 [n], the head's class of each class of the labels; None: they are the same.
        classes: number of classes of the head; targets of other classes stay as they are, as no head uses them.

    Returns:
        float [batch, targets, 6].
    """
    if class_map is None:
        return targets
    valid = (targets[..., 0] != 0) & (targets[..., 4] >= 0) & (targets[..., 4] < classes)
    mapped = targets.clone()
    mapped[..., 4][valid] = class_map.to(targets.device)[targets[..., 4][valid].long()].to(targets.dtype)
    return mapped


def read_map(path: pathlib.Path, classes: int) -> Tensor:
    """Read a file with one class number per line.

    Args:
        path: the file.
        classes: number of classes of the head.

    Returns:
        int64 [lines], in 0..classes - 1.

    Raises:
        DataError: if the file cannot be read or a line is not a class of the head.
    """
    numbers = []
    for line, text in enumerate(read_lines(path), start=1):
        if text.strip():
            # The text is not quoted: a cfg of someone else names the file.
            if not re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII) or int(text) >= classes:
                raise DataError(f"{path}:{line}: expected a class number in 0..{classes - 1}, found other text")
            numbers.append(int(text))
    if not numbers:
        raise DataError(f"{path}: expected a class number per line, found none")
    return torch.tensor(numbers)
