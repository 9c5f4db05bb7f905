"""The .weights file: header, load, save.

A file is little-endian and has no names, shapes or marks, so that one wrong size shifts all that
follows; every byte is therefore accounted for.

    major, minor, revision   3 x int32
    seen                     images trained on: uint64 if major * 10 + minor >= 2, else uint32
                             (pjreddie's dialect: uint32 also where major or minor is 1000 or more)
    float32 ...              what ``Layer.stored`` of every layer yields, in the order of the layers

Files with major or minor above 1000 hold the matrices of connected layers as [inputs, outputs].
A file that ends where a layer begins is a backbone (yolov4.conv.137 is yolov4's first 137 layers).
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

from .._typing import StrPath
from ..cfg import Dialect
from ..errors import WeightsError
from ..files import atomic_write
from ..network import Network
from .diagnostics import explain, foreign


class Header(NamedTuple):
    """What a file starts with."""

    major: int
    minor: int
    revision: int
    seen: int

    def layout(self, dialect: Dialect) -> str:
        """The struct format of the whole header."""
        wide = self.major * 10 + self.minor >= 2
        if dialect is Dialect.PJREDDIE:
            wide = wide and self.major < 1000 and self.minor < 1000
        return "<iiiQ" if wide else "<iiiI"

    @property
    def transposed(self) -> bool:
        """Whether connected layers hold their matrices as [inputs, outputs]."""
        return self.major > 1000 or self.minor > 1000


class Stored(NamedTuple):
    """One array of a file: the number of its layer, what errors call it, the live tensor."""

    layer: int
    place: str
    tensor: Tensor


def stored(network: Network, *, transposed: bool = False, writing: bool = False) -> Iterator[Stored]:
    """The arrays of a file in order; ``dontload`` and its kin decide which are read, ``dontsave`` which written."""
    for index, (layer, section) in enumerate(zip(network, network.config.sections[1:], strict=True)):
        if writing and layer.options.dontsave:
            continue
        for name, tensor in layer.stored(transposed) if writing else layer.loaded(transposed):
            yield Stored(index, f"layer {index} [{section.name}] {name}", tensor)


def read_header(file: BinaryIO, dialect: Dialect, path: str) -> Header:
    """Read the header; the file then stands at the first float. Raises WeightsError."""
    start = file.read(12)
    if len(start) < 12:
        raise WeightsError(f"{path}: {len(start)} bytes: expected a header of 16 or 20 bytes and then floats")
    header = Header._make((*struct.unpack("<iii", start), 0))
    layout = header.layout(dialect)
    rest = file.read(struct.calcsize(layout) - 12)
    if len(rest) < struct.calcsize(layout) - 12:
        raise WeightsError(f"{path}: ends within its header")
    return Header(*struct.unpack(layout, start + rest))


def fits_upto(network: Network, path: StrPath) -> int:
    """How many layers a file fills: all, or the first of a backbone, which ends where a layer begins.

    Raises WeightsError for a file that does neither.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            start = file.read(64)
            file.seek(0)
            header = read_header(file, network.dialect, name)
            left = os.fstat(file.fileno()).st_size - file.tell()
    except OSError as error:
        raise WeightsError(f"{name}: {error.strerror or error}") from error
    arrays, whole = list(stored(network, transposed=header.transposed)), left
    for index, array in enumerate(arrays):
        if left == 0 and index and arrays[index - 1].layer != array.layer:
            return array.layer
        left -= 4 * array.tensor.numel()
    if left or foreign(start):
        raise WeightsError(f"{name}: {explain(network, arrays, whole, start)}")
    return len(network.layers)


@torch.no_grad()
def load(network: Network, path: StrPath, *, upto: int | None = None) -> Network:
    """Fill the parameters from a file and return the network.

    ``upto``: read the first so many layers alone, whatever follows in the file; the others keep what
    they hold. Without it the file must fit to the byte. The arrays are read straight into the
    parameters; nothing is changed unless everything fits. Raises WeightsError.
    """
    _check(network, upto)
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            start = file.read(64)
            file.seek(0)
            header = read_header(file, network.dialect, name)
            arrays = [a for a in stored(network, transposed=header.transposed) if upto is None or a.layer < upto]
            left = os.fstat(file.fileno()).st_size - file.tell()
            wanted = 4 * sum(array.tensor.numel() for array in arrays)
            if left < wanted or (left > wanted and (upto is None or foreign(start))):
                raise WeightsError(f"{name}: {explain(network, arrays, left, start)}")
            for array in arrays:
                _read(file, array.tensor)
    except OSError as error:
        raise WeightsError(f"{name}: {error.strerror or error}") from error
    network.version, network.seen = header[:3], header.seen
    return network


def save(network: Network, path: StrPath, *, upto: int | None = None, seen: int | None = None) -> int:
    """Write a file, whole or not at all, and return its size in bytes.

    ``upto``: the first so many layers alone. ``seen``: instead of the network's own. A network saved as
    it was loaded gives the same bytes.
    """
    _check(network, upto)
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


def _check(network: Network, upto: int | None) -> None:
    if upto is not None and not 0 < upto <= len(network.layers):
        raise WeightsError(f"upto={upto}: expected 1..{len(network.layers)}, the number of layers")


def _read(file: BinaryIO, tensor: Tensor) -> None:
    plain = tensor.device.type == "cpu" and tensor.dtype is torch.float32 and tensor.is_contiguous()
    if plain and sys.byteorder == "little":
        file.readinto(tensor.detach().numpy().data.cast("B"))  # type: ignore[attr-defined]
    else:
        floats = np.frombuffer(file.read(4 * tensor.numel()), "<f4").astype(np.float32)
        tensor.copy_(torch.from_numpy(floats).view(tensor.shape))
