"""``TrainedLayers``: which layers of a network are trained, and the modes of all of them during an iteration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ConfigError
from ..layers import Layer
from ..network import Network


class TrainedLayers:
    """The layers that are trained, by ``freeze``, ``requires_grad``, stopbackward=, train_only_bn= and onlyforward=.

    Args:
        network: The network to train.
        freeze: Number of layers at the beginning that are not trained and keep their batch norm statistics.

    Raises:
        ConfigError: ``freeze`` is out of range.
    """

    def __init__(self, network: Network, freeze: int) -> None:
        if not 0 <= freeze <= len(network.layers):
            raise ConfigError(f"freeze: expected 0..{len(network.layers)}, the number of layers, got {freeze}")
        self.network = network
        self.freeze = freeze
        stops = [index for index, layer in enumerate(network) if layer.options.stopbackward == 1]
        bn_only = [index + 1 for index, layer in enumerate(network) if layer.options.train_only_bn]
        self._eval_before = max([freeze, *stops])  # earlier layers are in eval mode
        self._frozen_before = max([freeze, *(index + 1 for index in stops), *bn_only])  # earlier ones have no gradient

    def first(self, iteration: int) -> int:
        """Index of the first layer that gets a gradient after ``iteration`` updates."""
        now = max(iteration, 1)
        temporary_stops = (index + 1 for index, layer in enumerate(self.network) if layer.options.stopbackward > now)
        return max([self._frozen_before, *temporary_stops])

    @contextmanager
    def in_training_mode(self, iteration: int) -> Iterator[None]:
        """Put the network in training mode as it is after ``iteration`` updates; restore it afterwards.

        Parameters with ``requires_grad=False`` are not trained, and a layer that has no others also keeps its batch
        norm statistics, as with ``freeze``.

        Raises:
            ConfigError: No parameter can be trained.
        """
        modes = [(module, module.training) for module in self.network.modules()]
        flags = [(parameter, parameter.requires_grad) for parameter in self.network.parameters()]
        first_trained = self.first(iteration)
        try:
            self.network.zero_grad()
            self.network.train()
            self._check_trainable()
            for index, layer in enumerate(self.network):
                if index < self._eval_before or _is_frozen(layer):
                    layer.eval()
                if index < first_trained or layer.options.onlyforward:
                    layer.requires_grad_(False)
            yield
        finally:
            for parameter, requires_grad in flags:
                parameter.requires_grad_(requires_grad)
            self.network.reset()
            for module, training in modes:
                module.training = training

    def _check_trainable(self) -> None:
        """Raise ConfigError if all parameters are frozen by ``freeze`` or ``requires_grad=False``."""
        parameters = [p for index, layer in enumerate(self.network) if index >= self.freeze for p in layer.parameters()]
        if not any(parameter.requires_grad for parameter in parameters):
            raise ConfigError(
                "every parameter is frozen, by freeze or requires_grad=False: nothing to train. Lower freeze, or call "
                "requires_grad_(True) on the layers to train"
            )


def _is_frozen(layer: Layer) -> bool:
    """Whether the layer has parameters, all with ``requires_grad=False``."""
    flags = [parameter.requires_grad for parameter in layer.parameters()]
    return bool(flags) and not any(flags)
