"""Fill some arrays of a network with the first ones of a .weights file, whatever layers they are of."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch

from .._typing import StrPath
from ..errors import WeightsError
from ..network import Network
from .darknet_file import StoredArray, open_weights, read_into, require_plain


@torch.no_grad()
def read_first_arrays(network: Network, path: StrPath, arrays: Iterable[StoredArray]) -> int:
    """Read arrays from the start of a file, until they or the file end.

    Args:
        network: the network that they are of, which gets the file's version.
        path: a .weights file, without transposed matrices.
        arrays: the arrays, which are changed in place.

    Returns:
        How many arrays were read. The file ends there, or goes on behind the last one.

    Raises:
        WeightsError: the file cannot be read, or ends within an array.
    """
    require_plain(network)
    name = os.fspath(path)
    count = 0
    with open_weights(path, network, upto=len(network.layers)) as opened:
        if opened.header.transposed:
            raise WeightsError(f"{name}: expected a version below 1000, found transposed matrices")
        left = opened.size
        for array in arrays:
            if not left:
                break
            size = 4 * array.tensor.numel()
            if left < size:
                raise WeightsError(f"{name}: ends in {array.label}: expected {size} bytes, found {left}")
            read_into(opened.file, array, name)
            left -= size
            count += 1
        network.version = opened.header[:3]
    return count
