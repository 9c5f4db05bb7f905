"""``load`` and ``save`` networks: cfgs with .weights files, and .pt and .safetensors checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import nn

from . import cfg as cfg_
from . import weights as weights_
from ._typing import StrPath
from .cfg import Dialect
from .data import data_file
from .devices import find_device
from .errors import WeightsError
from .hub import model_files
from .modes import standard_defaults
from .network import Network
from .weights import checkpoint
from .weights.containers import is_container


@standard_defaults()
def load(
    cfg: StrPath,
    weights: StrPath | None = None,
    *,
    size: tuple[int, int] | None = None,
    dialect: Dialect | str | None = None,
    device: torch.device | str = "cpu",
    strict: bool = False,
    upto: int | None = None,
    max_bytes: int | None = None,
    allow_paths: bool = False,
) -> Network:
    """Build a network, load its weights and return it in eval mode.

    Args:
        cfg: a cfg file, a .pt or .safetensors checkpoint of ``save``, a name of the catalogue or an address on the
            Hugging Face Hub, ``hf://owner/repo[@revision][/file]``, whose weights are downloaded once.
        weights: a .weights file or a checkpoint. Without weights, and in layers after ``upto``, parameters have
            Darknet's random initial values.
        size: width and height of the input in pixels, instead of the cfg's.
        dialect: ``"alexeyab"`` or ``"pjreddie"``, the fork of Darknet to follow where the forks differ; None: that of
            the checkpoint, otherwise AlexeyAB's.
        device: where the network runs: "cpu", "cuda", ... or "auto", see ``devices.find_device``.
        strict: raise ConfigError instead of warning of options without effect.
        upto: load the first ``upto`` layers only, from a whole file or a backbone (137 for yolov4.conv.137).
        max_bytes: memory that parameters, the outputs of one image and the image may need; None: the machine's.
        allow_paths: let ``tree=`` and ``map=`` of the cfg name files outside of its surroundings (``cfg.load``).

    Returns:
        The network.

    Raises:
        ConfigError: the cfg cannot be read, or its network cannot be built.
        WeightsError: the weights cannot be read, or do not fit.
        DarknetError: this machine does not have the device.
    """
    target = find_device(device)  # first: a wrong name should not wait for the weights
    saved: checkpoint.Checkpoint | None = None
    names: tuple[str, ...] = ()
    if model_files.is_remote(cfg):
        model = model_files.find(cfg, weights)
        cfg, weights = model.cfg, model.weights
        names = data_file.read_names(model.names) if model.names else ()
    if is_container(cfg):
        if weights is not None:
            raise WeightsError(f"{os.fspath(cfg)}: contains weights: expected no other weights, found {weights}")
        saved = checkpoint.load(cfg)
        weights = cfg
        network = checkpoint.build(saved, cfg, size=size, dialect=dialect, strict=strict, max_bytes=max_bytes)
    else:
        if weights is not None and is_container(weights):
            saved = checkpoint.load(weights)
            dialect = dialect or saved.dialect
        network = Network(
            cfg_.load(cfg, allow_paths=allow_paths),
            size=size,
            dialect=dialect or Dialect.ALEXEYAB,
            strict=strict,
            max_bytes=max_bytes,
        )
    if weights is None or upto is not None or any(_has_unloaded_weights(layer.options) for layer in network):
        network.initialise()
    if saved is not None and weights is not None:
        checkpoint.fill(network, saved, weights, upto=upto)
    elif weights is not None:
        weights_.load(network, weights, upto=upto)
    network.names = network.names or names
    return network.to(target)


class NetworkLoader:
    """A function that loads a network, in its place: ``NetworkLoader(functools.partial(load, CFG, WEIGHTS))``.

    The one that takes the network, a ``Detector``, ``Classifier`` or ``evaluate``, is the only one that has it, and may
    free its plain weights.

    Args:
        load: Load the network, each time the same.
        network: What it has returned already, if the caller has no further use for it.
    """

    def __init__(self, load: Callable[[], Network], network: Network | None = None) -> None:
        self.load = load
        self._network = network

    @property
    def network(self) -> Network:
        """The network that is taken next."""
        if self._network is None:
            self._network = self.load()
        return self._network

    def take(self) -> Network:
        """Return the network, to which no reference is kept."""
        network, self._network = self.network, None
        return network


def save(network: nn.Module, path: StrPath, *, upto: int | None = None, allow_non_finite: bool = False) -> None:
    """Write a network to a .weights file, or with the suffix .pt or .safetensors to a checkpoint.

    Args:
        network: the network.
        path: the file to write; an existing one is replaced when the new one is complete.
        upto: write the first ``upto`` layers only.
        allow_non_finite: write weights that contain NaN or Inf, too.

    Raises:
        WeightsError: the file cannot be written, there are fewer layers, or the weights contain NaN or Inf.
    """
    if is_container(path):
        checkpoint.save(network, path, upto=upto, allow_non_finite=allow_non_finite)
    else:
        weights_.save(network, path, upto=upto, allow_non_finite=allow_non_finite)


def _has_unloaded_weights(options: object) -> bool:
    """Whether a layer has weights that are not loaded from the file."""
    return any(getattr(options, key) for key in ("dontload", "dontloadscales", "numload"))
