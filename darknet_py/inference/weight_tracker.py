"""``WeightTracker``: detect that a network's weights have changed since they were packed or converted."""

from __future__ import annotations

import operator
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
