"""What removed channels contribute: a constant each, which goes into the parameters of the layers that read them.

A channel whose scale is 0 outputs the activation of its bias at every position. Later layers see that constant, which
must be in their parameters before the channel can go.
"""

from __future__ import annotations

import torch

from .._liveness import dead_after
from ..network import INPUT, Network, evaluating
from .selection import ChannelSelection, Trace


@torch.no_grad()
def carry_constants(network: Network, trace: Trace, selection: ChannelSelection) -> None:
    """Set the scales of removed channels to 0, and let the layers that read them absorb what they output then.

    Layers without batch norm have the weights of the filters set to 0 instead. It is exact where constants are read
    without padding, see ``Layer.absorb``. The product of a constant and a gate is not constant; it is replaced by its
    value for a black image.

    Args:
        network: the network, which is changed.
        trace: its channels.
        selection: those to remove.
    """
    removed = selection.removed
    for filters in trace.groups.filters:
        filters.gain[removed[filters.channels].to(filters.gain.device)] = 0
    black = torch.zeros(1, *network.shape).to(next(network.parameters()))
    outputs = {INPUT: black}
    with evaluating(network):
        for index, dead in enumerate(dead_after(enumerate(network.sources), network.outputs)):
            layer = network[index]
            inputs = [outputs[source] for source in network.sources[index]]
            outputs[index] = layer(*inputs)
            gone = removed[trace.outputs[network.sources[index][0]]]
            if len(inputs) == 1 and gone.any():
                mask = gone.to(black.device).view(1, -1, 1, 1)
                layer.absorb(torch.where(mask, inputs[0], torch.zeros_like(inputs[0])))
            for number in dead:
                outputs.pop(number, None)
