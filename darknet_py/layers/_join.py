"""``Join``: a layer that reads other layers by number."""

from __future__ import annotations

from collections.abc import Sequence

from ._convolution import Convolution
from .base import Layer


class Join(Layer):
    """Base of ``[route]``, ``[shortcut]`` and the gates, which need activated outputs of the layers that they read."""

    def connect(self, index: int, earlier: Sequence[Layer]) -> None:
        """Make convolutions that are read apply their activation even with ``bin_output``."""
        for source in self.options.sources(index):
            if source >= 0 and isinstance(layer := earlier[source], Convolution):
                layer.feeds_bin_output = False
