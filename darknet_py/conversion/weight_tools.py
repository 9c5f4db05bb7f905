"""Darknet's commands that make a weights file from others, and its statistics of a network.

Each computes in float32 in Darknet's order, so that the files are Darknet's byte for byte. As there, batch norm inside
recurrent layers is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from .. import loading
from .._typing import StrPath
from ..errors import WeightsError
from ..layers import Layer
from ..layers._convolution import Convolution
from ..layers._dense import Dense
from ..layers._norm import Norm
from ..network import Network

_EPSILON = {True: 1e-5, False: 1e-6}  # added to the variance by convolutions, and by fully connected layers
_COLUMNS = 16  # of filters in an image


def average(cfg: StrPath, files: Sequence[StrPath]) -> Network:
    """Load a network with the mean of several weights files.

    As in Darknet, other layers than convolutions and dense ones have the values of the first file, and so has batch
    norm of dense layers.
    """
    network = loading.load(cfg, files[0])
    for path in files[1:]:
        for layer, other in zip(network, loading.load(cfg, path), strict=True):
            for target, array in zip(_arrays(layer), _arrays(other), strict=True):
                target.add_(array)
    for layer in network:
        for target in _arrays(layer):
            target.mul_(float(np.float32(1 / len(files))))
    return network


def fold(network: Network) -> None:
    """Fold batch norm into weights and biases, and keep it with scale 1, mean 0 and variance 1 (``reset``)."""
    for layer in _weighted(network):
        if layer.norm is None:
            continue
        norm = layer.norm
        variance = norm.rolling_variance.double() + _EPSILON[isinstance(layer, Convolution)]
        factor = (norm.scales.double() / variance.sqrt()).float()
        with torch.no_grad():
            layer.weights.mul_(factor.view(-1, *[1] * (layer.weights.dim() - 1)))
            layer.biases.sub_(norm.rolling_mean * factor)
            norm.scales.fill_(1)
            norm.rolling_mean.fill_(0)
            norm.rolling_variance.fill_(1)


def remove_norm(network: Network) -> None:
    """Fold batch norm, and leave it out of the file (``denormalize``)."""
    fold(network)
    for layer in _weighted(network):
        layer.norm = None


def add_norm(network: Network) -> None:
    """Add batch norm with scale 1, mean 0 and variance 0 to layers without it (``normalize``)."""
    for layer in _weighted(network):
        if layer.norm is None:
            layer.norm = Norm(len(layer.biases))
            layer.norm.initialise()


def rescale(network: Network) -> None:
    """Adapt the first convolution, made for inputs in -1..1, to inputs in 0..1: ``w (2x - 1) + b`` (``rescale``)."""
    layer = _first_of_colour(network)
    with torch.no_grad():
        layer.weights.mul_(2)
        sums = _sum_rows(layer.weights.flatten(1).numpy())
        layer.biases.add_(torch.from_numpy(sums * np.float32(-0.5)))


def swap_red_blue(network: Network) -> None:
    """Swap the red and blue planes of the first convolution's filters (``rgbgr``)."""
    layer = _first_of_colour(network)
    with torch.no_grad():
        layer.weights.copy_(layer.weights.flip(1))


TOOLS: dict[str, Callable[[Network], None]] = {
    "rescale": rescale,
    "rgbgr": swap_red_blue,
    "reset": fold,
    "denormalize": remove_norm,
    "normalize": add_norm,
}


def count_operations(network: Network) -> int:
    """Two operations per multiplication by a weight of convolutions and dense layers (``numops``)."""
    count = 0
    for layer in network:
        if isinstance(layer, Convolution):
            weights = layer.owner[0].weights if layer.owner else layer.weights
            count += 2 * weights.numel() * layer.inner.height * layer.inner.width
        else:
            count += sum(2 * part.weights.numel() for part in layer.modules() if isinstance(part, Dense))
    return count


def statistics_lines(network: Network) -> Iterator[str]:
    """Yield Darknet's lines of the arrays of dense layers with batch norm; an empty line for any other layer."""
    for index, layer in enumerate(network):
        if isinstance(layer, Dense) and layer.norm is not None:
            yield f"{type(layer).__name__} Layer {index}"
            for name, array in (("Scales", layer.norm.scales), ("Biases", layer.biases), ("Weights", layer.weights)):
                values = (
                    array.detach().flatten()[: len(layer.biases)].double()
                )  # of the weights as many as outputs, too
                mean, square = values.mean(), values.square().mean()
                variance = (values - mean).square().mean()
                yield f"{name} MSE: {square.sqrt():.6f}, Mean: {mean:.6f}, Variance: {variance:.6f}"
        yield ""


def filter_images(network: Network) -> Iterator[tuple[str, Image.Image]]:
    """Yield (file name, image) with the filters of each convolution in a grid, each scaled to 0..255.

    Filters of three channels are in colour, others the mean of their channels.
    """
    for index, layer in enumerate(network):
        if isinstance(layer, Convolution) and not layer.owner:
            yield f"{index}.png", Image.fromarray(_grid(layer.weights.detach().cpu().numpy()))


def _grid(filters: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    if filters.shape[1] != 3:
        filters = filters.mean(axis=1, keepdims=True).repeat(3, axis=1)
    low = filters.min(axis=(1, 2, 3), keepdims=True)
    high = filters.max(axis=(1, 2, 3), keepdims=True)
    scaled = 255 * (filters - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    tiles = np.pad(scaled.astype(np.uint8).transpose(0, 2, 3, 1), ((0, 0), (0, 1), (0, 1), (0, 0)))
    rows = -(-len(tiles) // _COLUMNS)
    height, width = tiles.shape[1:3]
    tiles = np.concatenate([tiles, np.zeros((rows * _COLUMNS - len(tiles), height, width, 3), np.uint8)])
    grid = tiles.reshape(rows, _COLUMNS, height, width, 3).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(rows * height, _COLUMNS * width, 3))


def _sum_rows(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Sum each row in float32 in the order of C's ``sum_array`` compiled for SSE: four sums, their pairs, the rest."""
    whole = rows.shape[1] // 4 * 4
    lanes = np.zeros((len(rows), 4), np.float32)
    for start in range(0, whole, 4):
        lanes += rows[:, start : start + 4]
    pairs = lanes[:, :2] + lanes[:, 2:]
    total: npt.NDArray[np.float32] = pairs[:, 0] + pairs[:, 1]
    for column in range(whole, rows.shape[1]):
        total += rows[:, column]
    return total


def _weighted(network: Network) -> Iterator[Convolution | Dense]:
    """The convolutions and dense layers that store arrays of their own."""
    for layer in network:
        if isinstance(layer, Dense) or (isinstance(layer, Convolution) and layer.options.share_index is None):
            yield layer


def _arrays(layer: Layer) -> list[Tensor]:
    """The arrays that ``average`` averages: all of a convolution, weights and biases of a dense layer."""
    if isinstance(layer, Dense):
        return [layer.biases.detach(), layer.weights.detach()]
    return [array.detach() for _, array in layer.stored()] if isinstance(layer, Convolution) else []


def _first_of_colour(network: Network) -> Convolution:
    layer = next((layer for layer in network if isinstance(layer, Convolution)), None)
    if layer is None or layer.weights.shape[1] != 3:
        raise WeightsError("expected a network whose first convolution has three channels")
    return layer
