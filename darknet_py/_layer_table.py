"""The table of a network's layers."""

from __future__ import annotations

from collections.abc import Sequence

from ._building import INPUT
from ._table import format_table
from .layers import Layer, Shape


def layer_table(
    layers: Sequence[Layer],
    names: Sequence[str],
    sources: Sequence[Sequence[int]],
    image: Shape,
    receptive_fields: Sequence[tuple[int, int]] | None,
) -> str:
    """Return Darknet's table: number, section, options, shapes, BFLOPS, floats in a .weights file.

    Args:
        layers: the layers in order.
        names: the section of each.
        sources: for each layer, the numbers of the layers that it reads; -1 is the image.
        image: shape of the image.
        receptive_fields: (height, width) in pixels of each layer's receptive field, for a further column; None: none.
    """
    rows: list[tuple[str, ...]] = [("", "layer", "options", "input", "output", "BFLOPS", "floats")]
    total = 0
    for index, (layer, name) in enumerate(zip(layers, names, strict=True)):
        floats = sum(tensor.numel() for _, tensor in layer.stored())
        total += floats
        source = sources[index][0]
        x = image if source == INPUT else layers[source].shape
        bflops = f"{layer.flops / 1e9:.3f}" if layer.flops else ""
        shapes = (shape.describe().replace(" ", "") for shape in (x, layer.shape))
        rows.append((str(index), name, layer.describe(), *shapes, bflops, f"{floats:,}" if floats else ""))
    if receptive_fields is not None:
        column = ("receptive", *(f"{width}x{height}" for height, width in receptive_fields))
        rows = [(*row, field) for row, field in zip(rows, column, strict=True)]
    bflops = f"{sum(layer.flops for layer in layers) / 1e9:.3f}"
    return "\n".join(format_table(rows, "><<>")) + f"\nTotal BFLOPS {bflops}, {total:,} floats"
