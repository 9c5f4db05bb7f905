"""Darknet's commands that make a weights file from others, and its statistics of a network.

Each computes in float32 in Darknet's order, so that the files are Darknet's byte for byte. As there, batch norm inside
recurrent layers is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .. import loading
from .._typing import StrPath
from ..errors import WeightsError
from ..layers import Layer
from ..layers._convolution import Convolution
from ..layers._dense import Dense
from ..layers._norm import Norm
from ..network import Network
from ..weights import StoredArray, stored
from ..weights.first_arrays import read_first_arrays

_EPSILON = {True: 1e-5, False: 1e-6}  # added to the variance by convolutions, and by fully connected layers
_ANCHORS = 3  # of ``oneoff``
_BOX_FILTERS = 5  # box and objectness


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


def load_classes_into_detector(cfg: StrPath, path: StrPath) -> Network:
    """Load a classifier's file into a network whose last two layers are a convolution and a head (``oneoff``).

    The classifier's last convolution has a filter for each class. Its filters become those of the classes of each of
    three anchors; the five filters of an anchor's box and objectness get random weights, a tenth of the usual ones.
    Darknet accepts YOLO9000's 11921 classes only, and 9372 in AlexeyAB's fork; here the number is the cfg's.

    Raises:
        WeightsError: the network is no such detector, or the file does not fit.
    """
    network = loading.load(cfg)
    layer = network[len(network.layers) - 2] if len(network.layers) > 1 else network[0]
    filters = len(layer.weights) if isinstance(layer, Convolution) else 0
    classes = filters // _ANCHORS - _BOX_FILTERS
    if not isinstance(layer, Convolution) or layer.norm is not None or filters % _ANCHORS or classes < 1:
        raise WeightsError(
            f"{network.config.path}: expected a convolution without batch_normalize before the last layer, with "
            f"{_ANCHORS} * ({_BOX_FILTERS} + classes) filters"
        )
    torch.manual_seed(0)
    network.initialise()
    anchor = [array.narrow(0, 0, filters // _ANCHORS) for array in (layer.biases.detach(), layer.weights.detach())]
    anchor[0].zero_()
    anchor[1].mul_(0.1)
    label = f"layer {len(network.layers) - 2} [{layer.names[0]}]"
    rows = [
        StoredArray(len(network.layers) - 2, f"{label} {name}", array.narrow(0, _BOX_FILTERS, classes))
        for name, array in zip(("biases", "weights"), anchor, strict=True)
    ]
    arrays = [*stored(network, upto=len(network.layers) - 2), *rows]
    if read_first_arrays(network, path, arrays) < len(arrays):
        raise WeightsError(f"{path}: ends before {label} with {classes} classes")
    for array, part in zip((layer.biases.detach(), layer.weights.detach()), anchor, strict=True):
        array.copy_(part.repeat(_ANCHORS, *[1] * (part.dim() - 1)))
    network.seen = 0
    return network


def load_twice(cfg: StrPath, path: StrPath, start: int) -> Network:
    """Load a file from the first layer, and again from layer ``start``, as far as it reaches (``oneoff2``).

    Layers that the file does not reach have random weights.

    Raises:
        WeightsError: the file cannot be read, ends within an array, or there is no layer ``start``.
    """
    network = loading.load(cfg)
    if not 0 <= start < len(network.layers):
        raise WeightsError(f"{network.config.path}: layer {start}: expected 0..{len(network.layers) - 1}")
    network.initialise()
    for first in (0, start):
        read_first_arrays(network, path, (array for array in stored(network) if array.layer >= first))
    network.seen = 0
    return network


def filter_lines(network: Network, index: int) -> Iterator[str]:
    """Yield a line with the weights of each filter of a convolution (``print``).

    Raises:
        WeightsError: there is no such convolution.
    """
    layer = network[index] if index < len(network.layers) else None
    if not isinstance(layer, Convolution):
        raise WeightsError(f"{network.config.path}: layer {index}: expected a convolution")
    for row in layer.weights.detach().flatten(1).tolist():
        yield "".join(f"{value:g} " for value in row)


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
