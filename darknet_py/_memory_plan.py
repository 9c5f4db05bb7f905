"""The memory that a network needs: parameters, and the outputs that are alive at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ._building import INPUT, LayerSpec, describe_size
from ._liveness import dead_after, peak_size
from ._memory import machine_memory
from .cfg import Config
from .errors import ConfigError
from .layers import Layer, Shape

_FLOAT = 4  # bytes


def parameter_memory(layer: Layer) -> int:
    """Compute the bytes of a layer's parameters and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (*layer.parameters(), *layer.buffers()))


def activation_memory(
    layers: Sequence[Layer],
    sources: Sequence[Sequence[int]],
    shape: Shape,
    outputs: Collection[int],
    *,
    workspaces: bool = False,
) -> int:
    """Compute the peak memory of the image and the layers' outputs in bytes, for one image in float32.

    An output is freed after the last layer that reads it; the caller keeps the image.

    Args:
        layers: the layers in order.
        sources: for each layer, the numbers of the layers that it reads; -1 is the image.
        shape: shape of the image.
        outputs: numbers of the layers whose outputs are returned.
        workspaces: add the memory that a layer needs while it runs.
    """
    steps = range(len(layers))
    sizes = {INPUT: _FLOAT * shape.floats} | {index: _FLOAT * layer.shape.floats for index, layer in enumerate(layers)}
    temporary = {index: _FLOAT * layer.workspace for index, layer in enumerate(layers)} if workspaces else {}
    return peak_size(steps, dead_after(zip(steps, sources, strict=True), (*outputs, INPUT)), sizes, temporary)


def check_memory(
    config: Config, specs: Sequence[LayerSpec], layers: Sequence[Layer], shape: Shape, max_bytes: int | None
) -> None:
    """Refuse a network that needs more memory than there is: parameters, one image, its outputs, and its resizing.

    Args:
        config: the cfg, for the error message.
        specs: the layers.
        layers: the same layers as ``plan_layers`` returns them.
        shape: shape of the network's input for one image.
        max_bytes: the memory in bytes; None: the machine's.

    Raises:
        ConfigError: the sum is above it, with the layer that needs most.
    """
    limit = machine_memory() if max_bytes is None else max_bytes
    arrays = [parameter_memory(layer) for layer in layers]
    workspaces = [_FLOAT * layer.workspace for layer in layers]
    # Heads keep their outputs; that they are few makes no difference here.
    peak = activation_memory(layers, [spec.sources for spec in specs], shape, (len(layers) - 1,), workspaces=True)
    resizing = _FLOAT * shape.floats  # the image after the horizontal pass
    total = sum(arrays) + peak + resizing
    if total <= limit:
        return
    sums = [
        array + _FLOAT * layer.shape.floats + workspace
        for array, layer, workspace in zip(arrays, layers, workspaces, strict=True)
    ]
    largest = sums.index(max(sums))
    parts = "parameters and workspace" if workspaces[largest] else "parameters"
    section = specs[largest].section
    raise ConfigError(
        f"{config.path}:{section.line}: layer {largest} [{section.name}] needs the most memory, "
        f"{_gigabytes(sums[largest])} for an output of {describe_size(layers[largest].shape)} and its "
        f"{parts}; the network needs {_gigabytes(total)} ({_gigabytes(sum(arrays))} parameters, {_gigabytes(peak)} "
        f"image and outputs, {_gigabytes(resizing)} resizing), expected at most {_gigabytes(limit)} (max_bytes)"
    )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.3f} GB" if count < 10**15 else f"{count / 1e9:.3g} GB"
