"""CIFAR-10 in its binary version: files of records, a class and 3 x 32 x 32 pixels (``load_cifar10_data``).

https://www.cs.toronto.edu/~kriz/cifar.html; unpacked, the archive is a folder cifar-10-batches-bin.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._typing import StrPath
from ..errors import DataError

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILES = ("test_batch.bin",)
SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32


class CifarImages(NamedTuple):
    """Images and their classes.

    Attributes:
        pixels: uint8 [n, 3, 32, 32], RGB.
        classes: int64 [n], numbers of ``NAMES``.
    """

    pixels: Tensor
    classes: Tensor

    def one_hot(self, smoothing: float = 0.0) -> Tensor:
        """Targets, float32 [n, 10]: 1 for the class, 0 for others; ``smoothing`` of it spread over all."""
        rows = torch.nn.functional.one_hot(self.classes, len(NAMES)).float()
        return smoothing / len(NAMES) + (1 - smoothing) * rows


def read_cifar(folder: StrPath, files: Sequence[str]) -> CifarImages:
    """Read files of a folder, ``TRAIN_FILES`` or ``TEST_FILES``.

    Raises:
        DataError: A file cannot be read, or is no such file.
    """
    records = []
    for path in (pathlib.Path(folder) / file for file in files):
        try:
            content = np.fromfile(path, np.uint8)
        except OSError as error:
            raise DataError(
                f"{path}: {error.strerror or error}: expected CIFAR-10 in its binary version, "
                "https://www.cs.toronto.edu/~kriz/cifar.html"
            ) from error
        if not len(content) or len(content) % _RECORD:
            raise DataError(f"{path}: expected records of {_RECORD} bytes, found {len(content)} bytes")
        rows = content.reshape(-1, _RECORD)
        if rows[:, 0].max() >= len(NAMES):
            raise DataError(f"{path}: expected classes in 0..{len(NAMES) - 1}, found {rows[:, 0].max()}")
        records.append(rows)
    table = torch.from_numpy(np.concatenate(records))
    return CifarImages(table[:, 1:].unflatten(1, SHAPE), table[:, 0].long())
