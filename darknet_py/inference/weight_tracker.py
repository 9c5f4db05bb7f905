"""Detect that a network's weights have changed since they were packed or converted; engines that then renew theirs."""

from __future__ import annotations

import operator
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import chain

from torch import Tensor

from ..network import Network

_get_version = operator.attrgetter("_version")
_get_values = operator.methodcaller("values")


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
        holders = ((m._modules, m._parameters, m._buffers) for m in self._network.modules())
        self._holders = list(chain.from_iterable(holders))
        # The objects are held, so that no other takes the address of one that is replaced.
        self._known = self._members()
        self._tensors = [member for member in self._known if isinstance(member, Tensor)]
        self._counted = [tensor for tensor in self._tensors if not tensor.is_inference()]
        self._storages = list(map(Tensor.data_ptr, self._tensors))
        self._versions = list(map(_get_version, self._counted))

    def changed(self) -> bool:
        """Whether the weights have changed since the last ``update``."""
        # Called for each image, and some networks take less than a millisecond: no loop here runs in Python.
        members = self._members()
        return not (
            len(members) == len(self._known)
            and all(map(operator.is_, members, self._known))  # == would compare the elements of tensors
            and list(map(Tensor.data_ptr, self._tensors)) == self._storages
            and list(map(_get_version, self._counted)) == self._versions
        )

    def _members(self) -> list[object]:
        """Return the modules' children, parameters and buffers."""
        return list(chain.from_iterable(map(_get_values, self._holders)))


class TrackedEngine(ABC):
    """An engine that converts or compiles the network, and does so again after its weights have changed.

    It may be called from several threads.

    Args:
        network: The network; stateless.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._lock = threading.Lock()
        self._tracker = WeightTracker(network)

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Compute the heads' outputs of ``images``, float32 [batch, channels, height, width] in 0..1."""
        with self._lock:
            if self._tracker.changed():
                self._tracker.update()  # first, so that changes during the conversion are detected by the next call
                self._renew()
        return self.compute(images)

    @abstractmethod
    def compute(self, images: Tensor) -> list[Tensor]:
        """As a call, but without looking for changed weights."""

    @abstractmethod
    def _renew(self) -> None:
        """Use the network's current weights."""


def untracked(engine: Callable[[Tensor], list[Tensor]]) -> Callable[[Tensor], list[Tensor]]:
    """Return an engine without its check for changed weights, for a caller that looks for them itself."""
    return engine.compute if isinstance(engine, TrackedEngine) else engine
