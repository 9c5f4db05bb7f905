"""The receptive field of every layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ._building import INPUT
from .layers import Layer, Shape


class _Extent(NamedTuple):
    """Along one axis: pixels that a cell depends on, and pixels between neighbouring cells."""

    size: float
    step: float

    def through(self, window: int, stride: float) -> _Extent:
        """Return the extent behind a layer with this window and stride."""
        size = self.size + (window - 1) * self.step if window else math.inf
        return _Extent(size, self.step * stride)


def receptive_fields(layers: Iterable[Layer], sources: Sequence[Sequence[int]], image: Shape) -> list[tuple[int, int]]:
    """Return the receptive field of each layer: the part of the image that one cell of its output depends on.

    Of several inputs the largest counts (``show_receptive_field`` in C, whose formula differs for dilated kernels that
    are not 3x3). Zero padding counts as a part of the image, as in the literature, so a field can be larger than the
    image; a field of the whole map, as behind [avgpool] or [connected], has the size of the image. Behind an
    [upsample] a field can be up to one cell of the upsampled map larger.

    Args:
        layers: the layers in order.
        sources: for each layer, the numbers of the layers that it reads; -1 is the image.
        image: shape of the image.

    Returns:
        (height, width) in pixels for each layer.
    """
    fields = {INPUT: (_Extent(1, 1), _Extent(1, 1))}
    for index, layer in enumerate(layers):
        window = layer.window
        inputs = [fields[source] for source in sources[index]]
        vertical, horizontal = (_Extent(*map(max, zip(*extents, strict=True))) for extents in zip(*inputs, strict=True))
        fields[index] = (
            vertical.through(window.height, window.stride_y),
            horizontal.through(window.width, window.stride_x),
        )
    del fields[INPUT]
    return [(_pixels(y.size, image.height), _pixels(x.size, image.width)) for y, x in fields.values()]


def _pixels(size: float, image: int) -> int:
    return image if math.isinf(size) else math.ceil(size)
