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

import os
import struct
import sys
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from .._typing import StrPath
from ..cfg import Dialect
from ..errors import WeightsError
from ..files import atomic_write
from ..network import Network
from .diagnostics import explain, identify_format


class Header(NamedTuple):
    """The header of a file."""

    major: int
    minor: int
    revision: int
    seen: int

    def layout(self, dialect: Dialect) -> str:
        """Return the ``struct`` format of the header."""
        is_uint64 = self.major * 10 + self.minor >= 2
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


def stored(network: Network, *, transposed: bool = False, writing: bool = False) -> Iterator[StoredArray]:
    """Yield the arrays of a file in order.

    Args:
        network: the network.
        transposed: whether the file has the matrices of connected layers as [inputs, outputs].
        writing: yield the arrays to write (``Layer.stored``, unless ``dontsave=1``) instead of those to read
            (``Layer.loaded``).
    """
    for index, (layer, section) in enumerate(zip(network, network.config.sections[1:], strict=True)):
        if writing and layer.options.dontsave:
            continue
        for name, tensor in layer.stored(transposed) if writing else layer.loaded(transposed):
            yield StoredArray(index, f"layer {index} [{section.name}] {name}", tensor)


def read_header(file: BinaryIO, dialect: Dialect, path: str) -> Header:
    """Read the header, up to the first array.

    Args:
        file: the file, at its start.
        dialect: the fork of Darknet to follow.
        path: name of the file in error messages.

    Raises:
        WeightsError: the file is shorter than a header.
    """
    start = file.read(12)
    if len(start) < 12:
        raise WeightsError(f"{path}: expected a header of 16 or 20 bytes, found {len(start)} bytes")
    header = Header._make((*struct.unpack("<iii", start), 0))
    layout = header.layout(dialect)
    size = struct.calcsize(layout)
    content = start + file.read(size - 12)
    if len(content) < size:
        raise WeightsError(f"{path}: expected a header of {size} bytes, found {len(content)} bytes")
    return Header(*struct.unpack(layout, content))


def count_filled_layers(network: Network, path: StrPath) -> int:
    """Count the layers that a file has weights for: all of the network, or the first ones for a backbone.

    Raises:
        WeightsError: the file cannot be read, is too long, or ends within a layer.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            start, header, left = _read_start(file, network, name)
    except OSError as error:
        raise WeightsError(f"{name}: {error.strerror or error}") from error
    arrays = list(stored(network, transposed=header.transposed))
    total = left
    for index, array in enumerate(arrays):
        if left == 0 and index and arrays[index - 1].layer != array.layer:
            return array.layer
        left -= 4 * array.tensor.numel()
    if left or identify_format(start):
        raise WeightsError(f"{name}: {explain(network, arrays, total, start)}")
    return len(network.layers)


@torch.no_grad()
def load(network: Network, path: StrPath, *, upto: int | None = None) -> Network:
    """Load the weights of a file into a network (``load_weights_upto``).

    The network is not changed unless the file fits.

    Args:
        network: the network, changed in place.
        path: a .weights file.
        upto: load the first ``upto`` layers only, whatever follows in the file; the other layers keep their values.
            None: all layers, and the file must fit to the byte.

    Returns:
        The network.

    Raises:
        WeightsError: the file cannot be read or does not fit.
    """
    _check_upto(network, upto)
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            start, header, left = _read_start(file, network, name)
            arrays = [a for a in stored(network, transposed=header.transposed) if upto is None or a.layer < upto]
            expected = 4 * sum(array.tensor.numel() for array in arrays)
            if left < expected or (left > expected and (upto is None or identify_format(start))):
                raise WeightsError(f"{name}: {explain(network, arrays, left, start)}")
            for array in arrays:
                _read_into(file, array.tensor)
    except OSError as error:
        raise WeightsError(f"{name}: {error.strerror or error}") from error
    network.version = header[:3]
    network.seen = header.seen
    return network


def save(network: Network, path: StrPath, *, upto: int | None = None, seen: int | None = None) -> int:
    """Write a .weights file (``save_weights_upto``). A network that was loaded and not changed gives the same bytes.

    Args:
        network: the network.
        path: the file to write; an existing one is replaced when the new one is complete.
        upto: write the first ``upto`` layers only.
        seen: number of images trained on, instead of ``network.seen``.

    Returns:
        The size of the file in bytes.

    Raises:
        WeightsError: the file cannot be written.
    """
    _check_upto(network, upto)
    major, minor, revision = network.version
    header = Header(major, minor, revision, network.seen if seen is None else seen)
    try:
        with atomic_write(path) as file:
            file.write(struct.pack(header.layout(network.dialect), *header))
            for array in stored(network, transposed=header.transposed, writing=True):
                if upto is None or array.layer < upto:
                    floats = array.tensor.detach().to("cpu", torch.float32).contiguous().numpy()
                    file.write(floats.astype("<f4", copy=False).data)
            return file.tell()
    except OSError as error:
        raise WeightsError(f"{os.fspath(path)}: {error.strerror or error}") from error


def _read_start(file: BinaryIO, network: Network, path: str) -> tuple[bytes, Header, int]:
    """Read the header; return the first bytes of the file, the header, and the number of bytes after it."""
    start = file.read(64)
    file.seek(0)
    header = read_header(file, network.dialect, path)
    return start, header, os.fstat(file.fileno()).st_size - file.tell()


def _check_upto(network: Network, upto: int | None) -> None:
    if upto is not None and not 0 < upto <= len(network.layers):
        raise WeightsError(f"upto={upto}: expected 1..{len(network.layers)}, the number of layers")


def _read_into(file: BinaryIO, tensor: Tensor) -> None:
    is_plain = tensor.device.type == "cpu" and tensor.dtype is torch.float32 and tensor.is_contiguous()
    if is_plain and sys.byteorder == "little":
        file.readinto(tensor.detach().numpy().data.cast("B"))  # type: ignore[attr-defined]
        if not tensor.is_inference():
            increment_version(tensor)  # torch does not see this write, and users of the old values must
    else:
        floats = np.frombuffer(file.read(4 * tensor.numel()), "<f4").astype(np.float32)
        tensor.copy_(torch.from_numpy(floats).view(tensor.shape))
