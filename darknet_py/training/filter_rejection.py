"""Re-initialise filters that have become similar to others (``weights_reject_freq=``, ``reject_similar_weights``)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ..layers import Head
from ..network import Network

_SIMILARITY_THRESHOLD = 0.4  # cosine similarity above which a filter is re-initialised
_NEAR_HEAD = 3  # layers right before a head that are left alone


@runtime_checkable
class ReinitialisesFilters(Protocol):
    """A layer whose filters can be compared with each other."""

    def reinitialise_similar_filters(self, similarity_threshold: float) -> None:
        """Re-initialise one filter of the most similar pair if their cosine similarity exceeds the threshold."""


def reinitialise_similar_filters(network: Network, iteration: int) -> None:
    """Re-initialise similar filters if that is due after update ``iteration``: in the first 3/4 of training.

    The first layer, the three before a head and those with ``requires_grad=False`` are left alone.
    """
    net = network.options
    every = net.weights_reject_freq
    if not every or iteration % every or iteration >= net.max_batches * 3 // 4:
        return
    layers = list(network)
    for index, layer in enumerate(layers):
        is_near_head = any(isinstance(later, Head) for later in layers[index + 1 : index + 1 + _NEAR_HEAD])
        is_trained = all(parameter.requires_grad for parameter in layer.parameters())
        if index and not is_near_head and is_trained and isinstance(layer, ReinitialisesFilters):
            layer.reinitialise_similar_filters(_SIMILARITY_THRESHOLD)
