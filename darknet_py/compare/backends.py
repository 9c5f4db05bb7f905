"""What ``compare`` can hold against each other: one class a kind; ``compare.find`` tells them apart.

    MODEL[,WEIGHTS]                  this package: a cfg, a .pt or .safetensors checkpoint, a catalogue name
    x.onnx                           ONNX Runtime; what ``darknet-py export`` writes, and other raw heads
    opencv:MODEL[,WEIGHTS]           OpenCV 4 reading the cfg
    darknet:[LIBRARY:]MODEL[,WEIGHTS]   a C library; without LIBRARY the system's

A subject is loaded at a size, then run on one input; ``network`` is this package's reading of its cfg, where it
has one: it tells what layer the numbers belong to.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import loading
from .._typing import StrPath
from ..cfg import Config, Dialect, Entry, Section
from ..errors import DarknetError, WeightsError
from ..hub import model_files
from ..hub.model_files import Model
from ..layers import DecodeOptions
from ..network import Network
from ..postprocess import postprocess, to_rows
from ..weights.containers import is_container

Size = tuple[int, int]  # width and height


@dataclass(frozen=True)
class BackendOutput:
    """Outputs [channels, height, width] by layer, and rows of class, confidence, x, y, w, h relative to the input."""

    layers: dict[int, Tensor]
    boxes: Tensor | None = None


class Backend:
    """One side of a comparison. ``dialect``: whose rules it keeps to, where that is known before loading."""

    network: Network | None = None
    dialect: Dialect | None = None
    size: Size | None = None  # of the input, where the file has no other
    channels = 3  # of the input, where there is no network to ask

    def load(self, size: Size | None, dialect: Dialect | None) -> None:
        """Make it ready for inputs of ``size``; None: its own. Raises DarknetError."""
        raise NotImplementedError

    def run(self, x: Tensor, threshold: float, nms: float, guide: Network | None) -> BackendOutput:
        """Outputs for ``x`` [1, channels, height, width]. ``guide``: the other side's network, if any."""
        raise NotImplementedError


class NativeBackend(Backend):
    """A network of this package."""

    def __init__(self, text: str) -> None:
        self.model = _model(text)

    def load(self, size: Size | None, dialect: Dialect | None) -> None:
        """Build and fill it."""
        model = self.model
        made = loading.load(model.cfg, model.weights, dialect=dialect)
        if size not in (None, (made.shape.width, made.shape.height)):
            made = loading.load(model.cfg, model.weights, dialect=dialect, size=size)
        self.network = made

    def __str__(self) -> str:
        """Files and dialect."""
        return f"{files(self.model)} (this package, {self.network.dialect if self.network else ''})"

    @property
    def loaded(self) -> Network:
        """The network, once it is loaded."""
        if self.network is None:
            raise DarknetError(f"{files(self.model)}: not loaded yet")
        return self.network

    def run(self, x: Tensor, threshold: float, nms: float, guide: Network | None) -> BackendOutput:
        """Every layer's output."""
        network = self.loaded
        layers: dict[int, Tensor] = {}

        def keep(number: int, output: Tensor) -> None:
            layers[number] = output[0].float().clone()

        hooks = [
            layer.register_forward_hook(lambda _, __, output, number=number: keep(number, output))
            for number, layer in enumerate(network)
        ]
        try:
            with torch.inference_mode():
                network.reset()
                outputs = network(x)
        finally:
            for hook in hooks:
                hook.remove()
        size = (x.shape[3], x.shape[2])
        return BackendOutput(layers, decoded(network, outputs, size, threshold, nms) if network.heads else None)


class ExternalBackend(NativeBackend):
    """A network of this package's reading that another program runs from the files themselves."""

    @property
    def weights(self) -> StrPath:
        """The .weights file. Raises WeightsError for a checkpoint."""
        if self.model.weights is None or is_container(self.model.weights):
            raise WeightsError(f"{files(self.model)}: only this package reads it: expected CFG,WEIGHTS (see convert)")
        return self.model.weights


def _model(text: str) -> Model:
    """The files of ``MODEL[,WEIGHTS]``."""
    cfg, comma, weights = text.rpartition(",")
    if not comma or os.path.exists(text):
        cfg, weights = text, ""
    model = model_files.find(cfg, weights or None)
    if model.weights is None and not is_container(model.cfg):
        raise WeightsError(f"{text}: no weights: expected {text},FILE.weights")
    return model


def files(model: Model) -> str:
    """What the user sees of a model."""
    return ",".join(os.fspath(path) for path in (model.cfg, model.weights) if path is not None)


def decoded(network: Network, outputs: Sequence[Tensor], size: Size, threshold: float, nms: float) -> Tensor:
    """Detections of the first image after NMS: rows [n, 6], see ``postprocess.to_rows``."""
    return to_rows(postprocess(network, outputs, size, DecodeOptions(threshold), nms=nms)[0])


def at_size(network: Network) -> Config:
    """The cfg with the network's own input size, one image and one frame at a time."""
    values = {"batch": "1", "subdivisions": "1", "time_steps": "1"}
    options, shape = network.options, network.shape
    if (0, 0) != (options.width, options.height) != (shape.width, shape.height):
        values |= {"width": str(shape.width), "height": str(shape.height)}
    first, *others = network.config.sections
    return dataclasses.replace(network.config, sections=(_changed(first, values), *others))


def _changed(section: Section, values: Mapping[str, str]) -> Section:
    kept = tuple(entry for entry in section.entries if entry.key not in values)
    return dataclasses.replace(section, entries=(*(Entry(key, value) for key, value in values.items()), *kept))
