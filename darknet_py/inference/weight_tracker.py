"""``WeightTracker``: detect that a network's weights have changed since they were packed or converted."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from ..network import Network


class _Snapshot(NamedTuple):
    """What identifies the weights; it holds the tensors and modules, so that no other object takes their addresses."""

    modules: list[nn.Module | None]
    tensors: list[Tensor]
    storages: list[int]
    versions: list[int]

    def equals(self, other: _Snapshot) -> bool:
        # Tensors are compared by identity: == would compare their elements.
        return (
            self.storages == other.storages
            and self.versions == other.versions
            and list(map(id, self.tensors)) == list(map(id, other.tensors))
            and list(map(id, self.modules)) == list(map(id, other.modules))
        )


class WeightTracker:
    """Detect changes of a network's parameters, buffers and modules, without reading their values.

    Detected: in-place operations (an optimizer's step, ``load_weights``, ``load_state_dict``, ``copy_``), replaced
    parameters and layers, ``parameter.data = tensor``, and ``Network.to``. Not detected: writing through
    ``parameter.data`` (``parameter.data.mul_(2)``), through numpy arrays that share the memory, and to tensors that
    were created in ``torch.inference_mode()``, because torch does not count those writes.

    Args:
        network: The network.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self.update()

    def update(self) -> None:
        """Take the network's current weights as unchanged."""
        modules = list(self._network.modules())
        self._children = [module._modules for module in modules]
        self._tensors = [held for m in modules for held in (m._parameters, m._buffers)]
        self._known = self._snapshot()

    def changed(self) -> bool:
        """Whether the weights have changed since the last ``update``."""
        return not self._snapshot().equals(self._known)

    def _snapshot(self) -> _Snapshot:
        tensors = [tensor for held in self._tensors for tensor in held.values() if tensor is not None]
        return _Snapshot(
            [module for held in self._children for module in held.values()],
            tensors,
            [tensor.data_ptr() for tensor in tensors],
            [0 if tensor.is_inference() else tensor._version for tensor in tensors],
        )
