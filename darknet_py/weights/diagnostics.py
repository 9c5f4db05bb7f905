"""Why a file of weights does not fit a network, in words that help."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

from torch import Tensor

from ..layers import Head, Layer
from ..network import INPUT, Network

_FOREIGN = (
    (b"PK\x03\x04", "a zip file, as torch.save writes: is it a PyTorch checkpoint?"),
    (b"\x80\x02", "a pickle, as old torch.save writes: is it a PyTorch checkpoint?"),
    (b"\x80\x04", "a pickle"),
    (b"version https://git-lfs", "a git-lfs pointer: run git lfs pull for the file itself"),
    (b"<", "a web page: the download gave an error page instead of the file"),
    (b"\x1f\x8b", "gzip data: unpack it first"),
    (b"[net]", "the text of a cfg: are cfg and weights swapped?"),
    (b"\x89HDF", "an HDF5 file, as Keras writes"),
    (b"\xff\xd8\xff", "a JPEG image"),
)


class Array(Protocol):
    """One array of a file (``weights.Stored``)."""

    @property
    def layer(self) -> int:
        """Number of its layer."""

    @property
    def place(self) -> str:
        """What errors call it."""

    @property
    def tensor(self) -> Tensor:
        """The live tensor."""


def foreign(start: bytes) -> str:
    """What a file is that starts with these bytes and is no .weights file; empty if nothing known."""
    if start[8:10] == b'{"':
        return "a safetensors file"
    stripped = start.lstrip()
    return next((what for magic, what in _FOREIGN if stripped.startswith(magic) or start.startswith(magic)), "")


def explain(network: Network, arrays: Sequence[Array], left: int, start: bytes) -> str:
    """Say where a file with ``left`` bytes of floats departs from ``arrays``, and the likely cause.

    ``start``: the first bytes of the file.
    """
    what = foreign(start)
    if what:
        return f"expected Darknet weights, found {what}"
    sizes = [4 * array.tensor.numel() for array in arrays]
    ends = list(accumulate(sizes))
    total = ends[-1] if ends else 0
    if left > total:
        text = (
            f"{left - total} bytes left behind {arrays[-1].place}, the last" if arrays else f"{left} bytes, none wanted"
        )
    else:
        at = next(index for index, end in enumerate(ends) if end > left)
        rest = left - (ends[at] - sizes[at])
        text = f"ends in {arrays[at].place}: {sizes[at]} bytes wanted, {rest} left"
        if rest == 0 and (at == 0 or arrays[at - 1].layer != arrays[at].layer):
            text += f"; the file ends where layer {arrays[at].layer} begins" + (
                f": a backbone, load it with upto={arrays[at].layer}" if at else ""
            )
            return text
    return text + _classes_that_fit(network, left - total)


def _classes_that_fit(network: Network, surplus: int) -> str:
    """The number of classes, or of outputs of the last layer, that makes the surplus vanish."""
    layers = list(network)
    heads = [(index, layer) for index, layer in enumerate(layers) if isinstance(layer, Head)]
    if heads:
        growth = 0.0
        for index, head in heads:
            source = network.sources[index][0]
            more = head.inputs_for(head.classes + 1) - head.inputs_for(head.classes)
            growth += more * _bytes_per_output(layers[source]) if source != INPUT else 0
        now, form = heads[-1][1].classes, f"[{heads[-1][1].names[0]}] classes={{}}"
    else:
        last = next((layer for layer in reversed(layers) if any(True for _ in layer.stored())), None)
        if last is None:
            return ""
        growth, now = _bytes_per_output(last), last.shape.channels
        form = f"{{}} outputs of the last [{last.names[0]}] instead of {now}"
    fitting = now + surplus / growth if growth else 0
    if fitting >= 1 and fitting == int(fitting):
        return f"; fits if {form.format(int(fitting))}"
    return "; cfg and weights are of different networks, or the file is damaged"


def _bytes_per_output(layer: Layer) -> float:
    return 4 * sum(tensor.numel() for _, tensor in layer.stored()) / layer.shape.channels
