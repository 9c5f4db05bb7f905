"""``Backbone``: the first layers of a network as feature maps for other heads."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from ._typing import StrPath
from .errors import DarknetError
from .layers import ClassifierHead, Head
from .loading import load
from .network import Network, unwrap


class FeatureInfo(NamedTuple):
    """A feature map of a backbone.

    Attributes:
        layer: number of the layer.
        channels: channels of the map.
        stride: pixels of the image between two rows of the map.
    """

    layer: int
    channels: int
    stride: int


class Backbone(nn.Module):
    """The layers of a network up to the last of ``out_layers``, as a module of its own with copies of the weights.

    Args:
        network: the network.
        out_layers: numbers of the layers whose outputs are returned. None: the last layer of each resolution, up to the
            first layer that enlarges its map, pools all of it, or computes predictions.

    Attributes:
        network: the layers.
        feature_info: layer, channels and stride of each map.

    Raises:
        DarknetError: there is no such layer, or no feature map.
    """

    def __init__(self, network: nn.Module, out_layers: Sequence[int] | None = None) -> None:
        super().__init__()
        whole = unwrap(network)
        count = len(whole.layers)
        numbers = last_of_each_resolution(whole) if out_layers is None else list(out_layers)
        if not numbers or any(not -count <= number < count for number in numbers):
            raise DarknetError(f"out_layers: expected numbers of layers in 0..{count - 1}, got {numbers}")
        numbers = [number % count for number in numbers]
        config = dataclasses.replace(whole.config, sections=whole.config.sections[: max(numbers) + 2])
        size = (whole.shape.width, whole.shape.height)
        self.network = Network(config, size=size, dialect=whole.dialect)
        values = whole.state_dict()
        self.network.to(next(whole.parameters()))
        self.network.load_state_dict({name: values[name] for name in self.network.state_dict()})
        shapes = [self.network[number].shape for number in numbers]
        self.feature_info = [
            FeatureInfo(number, shape.channels, whole.shape.height // shape.height)
            for number, shape in zip(numbers, shapes, strict=True)
        ]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps, float [batch, channels, height, width] each, of ``x`` [batch, 3, height, width]."""
        return self.network.features(x, [info.layer for info in self.feature_info])


def backbone(
    cfg: StrPath, weights: StrPath | None = None, *, out_layers: Sequence[int] | None = None, **options: Any
) -> Backbone:
    """Load a network and return its backbone.

    Args:
        cfg: a cfg file, a checkpoint or a name of the catalogue.
        weights: as for ``load``.
        out_layers: as for ``Backbone``.
        options: the other options of ``load``.

    Raises:
        DarknetError: as for ``load`` and ``Backbone``.
    """
    return Backbone(load(cfg, weights, **options), out_layers)


def last_of_each_resolution(network: Network) -> list[int]:
    """Return the last layer of each resolution, up to the first that enlarges its map or computes predictions."""
    return list(_last_of_each_resolution(network))


def _last_of_each_resolution(network: Network) -> Iterator[int]:
    layers = list(itertools.takewhile(lambda layer: not isinstance(layer, Head | ClassifierHead), network))
    if len(layers) < len(network.layers) and isinstance(network[len(layers)], Head):
        del layers[-1]  # whose channels are predictions
    sizes = [layer.shape[1:] for layer in layers]
    for number, (size, following) in enumerate(itertools.zip_longest(sizes, sizes[1:])):
        if size == (1, 1):
            return
        if following != size:
            yield number
        if following is not None and following > size:
            return
