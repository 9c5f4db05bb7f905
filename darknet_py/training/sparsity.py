"""``ScalePenalty``: the L1 penalty on the scales of batch norm that network slimming trains with."""

from __future__ import annotations

import math

import torch

from ..errors import ConfigError
from ..network import Network


class ScalePenalty:
    """Adds the subgradient of S * sum |scale| to the gradients of all scales (https://arxiv.org/abs/1708.06519).

    Args:
        network: The network to train.
        strength: S, relative to the loss of one image; 0: none.

    Raises:
        ConfigError: The strength is negative or no finite number, or the network has no batch norm.
    """

    def __init__(self, network: Network, strength: float) -> None:
        if not 0 <= strength < math.inf:
            raise ConfigError(f"sparsity: expected a number of 0 or more, got {strength:g}")
        self.strength = strength
        self.scales = [p for name, p in network.named_parameters() if name.endswith(".scales")]
        if strength and not self.scales:
            raise ConfigError(f"{network.config.path}: sparsity: expected a network with batch norm")

    @torch.no_grad()
    def add_gradients(self, images: int) -> None:
        """Add to the gradients of an iteration, which are sums over its images.

        Args:
            images: Number of these images.
        """
        if self.strength:
            for scales in self.scales:
                if scales.grad is not None:
                    scales.grad.add_(scales.sign(), alpha=self.strength * images)
