"""Read and write .weights files (``load_weights_upto`` and ``save_weights_upto`` in C's parser.c).

A file is little-endian and has no names, shapes or markers, so one wrong size shifts all that follows: a file must fit
its network to the byte.

    major, minor, revision   int32 x 3
    seen                     number of images trained on: uint64 if major * 10 + minor >= 2, else uint32
                             (pjreddie: uint32 also if major or minor is 1000 or more)
    arrays                   float32, C order: what ``Layer.stored`` of each layer yields, in the order of the layers

In files with major or minor above 1000 the matrices of connected layers are transposed: [inputs, outputs].
A file that ends where a layer begins is a backbone: yolov4.conv.137 is the first 137 layers of yolov4.
"""

from __future__ import annotations

import io
import itertools
import os
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from .._typing import StrPath
from ..cfg import Dialect
from ..errors import WeightsError
from ..files import atomic_write
from ..modes import update_computed
from ..network import Network, unwrap
from .binary import fill, read_exactly
from .diagnostics import explain, identify_format, require_finite, require_memory, warn_of_non_finite

_MAX_HEADER = struct.calcsize("<iiiQ")


class Header(NamedTuple):
    """The header of a file."""

    major: int
    minor: int
    revision: int
    seen: int

    def layout(self, dialect: Dialect) -> str:
        """Return the ``struct`` format of the header.

        Version 0.0.0 is that of PyTorch programs (PyTorch-YOLOv3), which write five int32.
        """
        is_uint64 = self.major * 10 + self.minor >= 2 or self[:3] == (0, 0, 0)
        if dialect is Dialect.PJREDDIE:
            is_uint64 = is_uint64 and self.major < 1000 and self.minor < 1000
        return "<iiiQ" if is_uint64 else "<iiiI"

    @property
    def transposed(self) -> bool:
        """Whether the matrices of connected layers are stored as [inputs, outputs]."""
        return self.major > 1000 or self.minor > 1000


class StoredArray(NamedTuple):
    """One array of a file."""

    layer: int  # its index
    label: str  # "layer 2 [convolutional] weights", for error messages
    tensor: Tensor  # the parameter or buffer itself, or a view of it


def stored(
    network: Network, *, transposed: bool = False, writing: bool = False, upto: int | None = None
) -> Iterator[StoredArray]:
    """Yield the arrays of a file in order.

    Args:
        network: the network.
        transposed: whether the file has the matrices of connected layers as [inputs, outputs].
        writing: yield the arrays to write (``Layer.stored``, unless ``dontsave=1``) instead of those to read
            (``Layer.loaded``).
        upto: yield those of the first ``upto`` layers only.
    """
    layers = zip(network, network.config.sections[1:], strict=True)
    for index, (layer, section) in enumerate(itertools.islice(layers, upto)):
        if writing and layer.options.dontsave:
            continue
        for name, tensor in layer.stored(transposed) if writing else layer.loaded(transposed):
            yield StoredArray(index, f"layer {index} [{section.name}] {name}", tensor)


def read_header(start: bytes, dialect: Dialect, path: str) -> tuple[Header, int]:
    """Read the header, up to the first array.

    Args:
        start: the first bytes of the file, 20 or more unless it is shorter.
        dialect: the fork of Darknet to follow.
        path: name of the file in error messages.

    Returns:
        The header, and its size in bytes.

    Raises:
        WeightsError: the file is shorter than a header.
    """
    if len(start) < 12:
        raise WeightsError(f"{path}: expected a header of 16 or 20 bytes, found {len(start)} bytes")
    layout = Header._make((*struct.unpack("<iii", start[:12]), 0)).layout(dialect)
    size = struct.calcsize(layout)
    if len(start) < size:
        raise WeightsError(f"{path}: expected a header of {size} bytes, found {len(start)} bytes")
    return Header(*struct.unpack(layout, start[:size])), size


def count_filled_layers(network: Network, path: StrPath) -> int:
    """Count the layers that a file has weights for: all of the network, or the first ones for a backbone.

    Raises:
        WeightsError: the file cannot be read, is too long, or ends within a layer.
    """
    with open_weights(path, network) as opened:
        arrays, total = list(stored(network, transposed=opened.header.transposed)), opened.size
    left = total
    for index, array in enumerate(arrays):
        if left == 0 and index and arrays[index - 1].layer != array.layer:
            return array.layer
        left -= 4 * array.tensor.numel()
    if left:
        raise WeightsError(f"{os.fspath(path)}: {explain(network, arrays, total)}")
    return len(network.layers)


def count_surplus_bytes(network: Network, path: StrPath) -> int:
    """Count the bytes of weights in a file beyond those of the network; negative if there are fewer.

    Raises:
        WeightsError: the file cannot be read, or is of another format.
    """
    with open_weights(path, network) as opened:
        arrays = stored(network, transposed=opened.header.transposed)
        return opened.size - 4 * sum(array.tensor.numel() for array in arrays)


@torch.no_grad()
def load(network: nn.Module, path: StrPath, *, upto: int | None = None) -> Network:
    """Load the weights of a file into a network (``load_weights_upto``).

    The network is not changed unless the file fits. If a file becomes shorter while it is read, the arrays before its
    new end have been loaded when the error is raised.

    Args:
        network: the network, changed in place.
        path: a .weights file, or a pipe that gives the content of one.
        upto: load the first ``upto`` layers only, whatever follows in the file; the other layers keep their values.
            None: all layers, and the file must fit to the byte.

    Returns:
        The network.

    Raises:
        WeightsError: the file cannot be read or does not fit.
    """
    network = unwrap(network)
    _check_upto(network, upto)
    require_plain(network)
    name = os.fspath(path)
    with open_weights(path, network, upto) as opened:
        header, left = opened.header, opened.size
        arrays = list(stored(network, transposed=header.transposed, upto=upto))
        expected = 4 * sum(array.tensor.numel() for array in arrays)
        if left < expected or (left > expected and upto is None):
            raise WeightsError(f"{name}: {explain(network, arrays, left)}")
        for array in arrays:
            read_into(opened.file, array, name)
    warn_of_non_finite(arrays, name)
    network.version = header[:3]
    network.seen = header.seen
    return network


def require_plain(network: Network) -> None:
    """Raise WeightsError if an array is not a parameter or buffer, so that values copied into it would be lost."""
    require_memory(network)
    held = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    for array in stored(network):
        if array.tensor.numel() and array.tensor.untyped_storage().data_ptr() not in held:
            raise WeightsError(
                f"{array.label}: computed by torch.nn.utils.parametrize, prune or weight_norm: expected a parameter. "
                "Load the weights first, or remove the computation (prune.remove, remove_parametrizations)"
            )


def save(
    network: nn.Module,
    path: StrPath,
    *,
    upto: int | None = None,
    seen: int | None = None,
    allow_non_finite: bool = False,
) -> int:
    """Write a .weights file (``save_weights_upto``). A network that was loaded and not changed gives the same bytes.

    Args:
        network: the network.
        path: the file to write; an existing one is replaced when the new one is complete.
        upto: write the first ``upto`` layers only.
        seen: number of images trained on, instead of ``network.seen``.
        allow_non_finite: write weights that contain NaN or Inf, too.

    Returns:
        The size of the file in bytes.

    Raises:
        WeightsError: the file cannot be written, or the weights contain NaN or Inf.
    """
    network = unwrap(network)
    _check_upto(network, upto)
    require_memory(network)
    update_computed(network)
    if not allow_non_finite:
        require_finite(stored(network, upto=upto), network.config.path)
    header = Header(*network.version, network.seen if seen is None else seen)
    try:
        start = struct.pack(header.layout(network.dialect), *header)
    except struct.error as error:
        raise WeightsError(f"{os.fspath(path)}: {header} does not fit the header of a file: {error}") from error
    with atomic_write(path, error=WeightsError, durable=True) as file:
        size: int = file.write(start)
        for array in stored(network, transposed=header.transposed, writing=True, upto=upto):
            floats = array.tensor.detach().to("cpu", torch.float32).contiguous().numpy()
            size += file.write(floats.astype("<f4", copy=False).data)
    return size


class OpenFile(NamedTuple):
    """A .weights file, read up to the first array."""

    file: BinaryIO  # at the first array
    header: Header
    size: int  # bytes after the header


@contextmanager
def open_weights(path: StrPath, network: Network, upto: int | None = None) -> Iterator[OpenFile]:
    """Open a file and read its header. Raises WeightsError, also for an OSError inside the block."""
    name = os.fspath(path)
    if "\0" in name:
        raise WeightsError(f"{name}: expected a file name, found a NUL character in it")
    try:
        with open(name, "rb") as file:
            if stat.S_ISREG((status := os.fstat(file.fileno())).st_mode):
                content: BinaryIO = file
                size = status.st_size
            else:  # a pipe or device has no size, and cannot be read twice
                limit = _MAX_HEADER + 4 * sum(array.tensor.numel() for array in stored(network))
                data = read_exactly(file, limit + 1)
                size = len(data)
                if size > limit and upto is None:
                    raise WeightsError(f"{name}: expected at most {limit} bytes, found more")
                content = io.BytesIO(data)
            start = read_exactly(content, 64)
            if kind := identify_format(start):
                raise WeightsError(f"{name}: expected Darknet weights, found {kind}")
            header, header_size = read_header(start, network.dialect, name)
            content.seek(header_size)
            yield OpenFile(content, header, size - header_size)
    except OSError as error:
        raise WeightsError(f"{name}: {error.strerror or error}") from error


def _check_upto(network: Network, upto: int | None) -> None:
    if upto is not None and not 0 < upto <= len(network.layers):
        raise WeightsError(f"upto={upto}: expected 1..{len(network.layers)}, the number of layers")


def read_into(file: BinaryIO, array: StoredArray, path: str) -> None:
    """Read one array, in place. Raises WeightsError if the file ends in it."""
    tensor = array.tensor
    is_plain = tensor.device.type == "cpu" and tensor.dtype is torch.float32 and tensor.is_contiguous()
    direct = is_plain and sys.byteorder == "little"
    floats = tensor.detach().numpy() if direct else np.empty(tensor.shape, "<f4")
    count = fill(file, floats.reshape(-1).data.cast("B"))
    if count < floats.nbytes:
        raise WeightsError(
            f"{path}: became shorter while it was read: ends in {array.label}: expected {floats.nbytes} bytes, "
            f"found {count}"
        )
    if not direct:
        tensor.copy_(torch.from_numpy(floats.astype(np.float32)))
    elif not tensor.is_inference():
        increment_version(tensor)  # torch does not see this write, and users of the old values must
