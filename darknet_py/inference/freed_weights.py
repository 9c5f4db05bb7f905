"""``FreedWeights``: free the plain weights of a network that an engine has packed, and load them again.

A freed tensor is replaced by one of the same shape, dtype and device that holds a single NaN, so that code which asks
for these works as before, and a mistake is seen in the numbers.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from ..layers import Layer
from ..network import Network

_SAMPLE = 8  # values of a tensor: enough to tell a file that has been trained further


class _Freed(NamedTuple):
    """A tensor that was freed: its module and name, and the bytes of its first values."""

    module: str
    name: str
    first: bytes


class FreedWeights:
    """The weights that were freed of a network which nobody else uses.

    Args:
        network: The network.
        load: Load the same network again.
    """

    def __init__(self, network: Network, load: Callable[[], Network]) -> None:
        self._network = network
        self._load = load
        self._freed: list[_Freed] = []
        self._names = {module: name for name, module in network.named_modules()}
        specs = (layer.as_convolution() for layer in network)
        self._readers = collections.Counter(id(spec.weights) for spec in specs if spec is not None)

    def free(self, layers: Iterable[Layer]) -> None:
        """Free the weights of convolutions that were packed, unless another one shares them."""
        for layer in layers:
            self._free(layer)

    def _free(self, layer: Layer) -> None:
        spec = layer.as_convolution()
        if spec is None or self._readers[id(spec.weights)] > 1:
            return
        of_norm = (*spec.norm.parameters(), *spec.norm.buffers()) if spec.norm else ()
        packed = {id(tensor) for tensor in (spec.weights, spec.biases, *of_norm)}
        for module in layer.modules():
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None and id(tensor) in packed:
                    self._freed.append(_Freed(self._names[module], name, _first_values(tensor)))
                    _holder(module, name)[name] = _without_values(tensor)

    def restore(self) -> None:
        """Load the network again, and give the network its weights back.

        Raises:
            WeightsError: They are others than those that were freed.
            DarknetError: They cannot be loaded.
        """
        if not self._freed:
            return
        loaded = self._load()
        for freed in self._freed:
            tensor = getattr(loaded.get_submodule(freed.module), freed.name)
            if _first_values(tensor) != freed.first:
                raise WeightsError(
                    f"{self._network.config.path}: layer {freed.module.split('.')[1]}: its weights were freed once "
                    "they were packed, and the file has changed since: expected the same file, or a detector of it"
                )
        for freed in self._freed:
            module = self._network.get_submodule(freed.module)
            _holder(module, freed.name)[freed.name] = getattr(loaded.get_submodule(freed.module), freed.name)
        self._freed.clear()


def _holder(module: nn.Module, name: str) -> dict[str, Any]:
    """The parameters or the buffers of a module, whichever have a tensor of this name."""
    return module._parameters if name in module._parameters else module._buffers


def _without_values(tensor: Tensor) -> Tensor:
    empty = torch.full((), torch.nan, dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _first_values(tensor: Tensor) -> bytes:
    return tensor.detach().flatten()[:_SAMPLE].numpy(force=True).tobytes()
