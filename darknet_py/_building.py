"""Build the layers of a cfg: their options, sources and shapes, the memory that they need, and sizes that fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .cfg import Config, Dialect, Section, schema
from .cfg.net_section import Net
from .errors import ConfigError
from .layers import Flattened, Layer, Shape, find, load_plugin, plugin_file

INPUT = -1  # number of the network's input among the sources of a layer

_STEPS = (8, 16, 32, 64, 128)  # usual ratios of the input's size to that of the smallest map
_MOST_VALUES = 2**60  # of an output: more fit into no memory


@dataclass(frozen=True)
class LayerSpec:
    """A layer before it is built.

    Attributes:
        section: its section.
        kind: its class.
        options: its keys.
        sources: numbers of the layers that it reads; INPUT is the network's input.
    """

    section: Section
    kind: type[Layer]
    options: Layer.Options
    sources: tuple[int, ...]


def read_specs(config: Config, dialect: Dialect, *, strict: bool) -> list[LayerSpec]:
    """Read the sections after ``[net]``.

    Raises:
        ConfigError: a section or a value is invalid, or a layer reads one that does not precede it.
    """
    specs = []
    for index, section in enumerate(config.sections[1:]):
        with locate_errors(config, section, index):
            kind = find(section.name)
            options = schema.read(kind.Options, section, config, dialect=dialect, strict=strict)
            sources = options.sources(index)
            for source in sources:
                if not INPUT <= source < index or (source == INPUT and index > 0):
                    raise ValueError(f"refers to layer {source}, which does not precede it")
        specs.append(LayerSpec(section, kind, options, sources))
    return specs


def recreation(kind: type[nn.Module], specs: Iterable[LayerSpec]) -> tuple[Callable[..., nn.Module], tuple[Any, ...]]:
    """Return the function and the arguments by which ``pickle`` creates a network of these layers.

    In another process they load the plug-ins that the layers are defined in before ``pickle`` looks for their classes.
    """
    return _create_empty, (kind, tuple(sorted({plugin_file(spec.kind) for spec in specs} - {""})))


def _create_empty(kind: type[nn.Module], plugins: Sequence[str]) -> nn.Module:
    for path in plugins:
        load_plugin(path)
    return kind.__new__(kind)


def input_shape(options: Net, size: tuple[int, int] | None) -> Shape:
    """Return the shape of the network's input, with ``size``, width and height in pixels, instead of the cfg's."""
    width, height = size or (options.width, options.height)
    image = Shape(options.channels, height, width)
    if min(image) > 0:
        return image
    if options.inputs > 0 and size is None:
        return Shape(options.inputs, 1, 1)
    raise ValueError(f"expected width, height and channels, or inputs, got {width} x {height} x {options.channels}")


def build_layers(config: Config, specs: Sequence[LayerSpec], shape: Shape, *, suggest: bool = True) -> list[Layer]:
    """Build the layers with uninitialised parameters, on torch's default device.

    Args:
        config: the cfg, for error messages.
        specs: the layers.
        shape: shape of the network's input for one image.
        suggest: name sizes that fit where the input's size is the reason of an error.

    Raises:
        ConfigError: a layer does not fit the ones it reads, or an array is larger than any memory.
    """
    layers: list[Layer] = []
    for index, spec in enumerate(specs):
        with locate_errors(config, spec.section, index):
            inputs = [shape if source == INPUT else layers[source].shape for source in spec.sources]
            if not spec.kind.reads_vectors and any(isinstance(x, Flattened) for x in inputs):
                fitting = _fitting_sizes(config, specs, shape) if suggest else []
                raise ValueError(_describe_flattened(specs, layers, spec, fitting))
            try:
                layer = spec.kind(spec.options, *inputs)
            except (RuntimeError, MemoryError) as error:  # torch: sizes above 2 ** 63, or no memory
                reason = str(error).partition("\n")[0]
                raise ValueError(f"its parameters cannot be allocated ({reason})") from error
            if layer.shape.floats > _MOST_VALUES:
                raise ValueError("its output is larger than any memory")
            layer.connect(index, layers)
            layers.append(layer)
    return layers


def plan_layers(config: Config, specs: Sequence[LayerSpec], shape: Shape, *, suggest: bool = True) -> list[Layer]:
    """Build the layers without their memory: parameters are on torch's meta device. See ``build_layers``."""
    with torch.device("meta"):
        return build_layers(config, specs, shape, suggest=suggest)


def _describe_flattened(
    specs: Sequence[LayerSpec], layers: Sequence[Layer], reader: LayerSpec, fitting: Sequence[Shape]
) -> str:
    """Describe why a layer cannot read a flattened route, and which sizes of the input would avoid it."""
    source = next(number for number in reader.sources if number >= 0 and isinstance(layers[number].shape, Flattened))
    route = source
    while all(isinstance(layers[number].shape, Flattened) for number in specs[route].sources):
        route = next(number for number in specs[route].sources if isinstance(layers[number].shape, Flattened))
    maps = ", ".join(f"{describe_size(layers[number].shape)} (layer {number})" for number in specs[route].sources)
    text = f"expected a map, got the vector of layer {route} [{specs[route].section.name}], which joins {maps}"
    if not fitting:
        return text
    sizes = " and ".join(f"{shape.width} x {shape.height}" for shape in fitting)
    return f"{text}; the nearest input sizes (width x height) that fit: {sizes}"


def _fitting_sizes(config: Config, specs: Sequence[LayerSpec], shape: Shape) -> list[Shape]:
    """Return the next smaller and the next larger input that the layers accept, of multiples of a usual step."""
    for step in _STEPS:
        smaller = shape._replace(height=shape.height // step * step, width=shape.width // step * step)
        larger = shape._replace(height=-(-shape.height // step) * step, width=-(-shape.width // step) * step)
        fitting = [size for size in (smaller, larger) if min(size) > 0]
        if shape not in fitting and all(_fits(config, specs, size) for size in fitting):
            return fitting
    return []


def _fits(config: Config, specs: Sequence[LayerSpec], shape: Shape) -> bool:
    try:
        plan_layers(config, specs, shape, suggest=False)
    except ConfigError:
        return False
    return True


def describe_size(shape: Shape) -> str:
    """Describe the shape of an output for a message."""
    return f"{shape.floats} values" if isinstance(shape, Flattened) else shape.describe()


@contextmanager
def locate_errors(config: Config, section: Section, index: int | None = None) -> Iterator[None]:
    """Convert a ValueError raised inside the block to a ConfigError with file, line and layer."""
    try:
        yield
    except ConfigError:
        raise
    except ValueError as error:
        layer = "" if index is None else f"layer {index} "
        raise ConfigError(f"{config.path}:{section.line}: {layer}[{section.name}] {error}") from error
