"""The programs that run a model for ``compare``; ``report.find_backend`` chooses one by the user's argument.

MODEL[,WEIGHTS]                  this package: a cfg, a .pt or .safetensors checkpoint, a catalogue name
x.onnx, .xml, .pt2, .ncnn.param   a file of ``darknet-py export`` in its runtime, and raw ONNX of other exporters
opencv:MODEL[,WEIGHTS]           OpenCV 4 reading the cfg
darknet:[LIBRARY:]MODEL[,WEIGHTS]   a C library; without LIBRARY the installed one
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
from ..postprocess import postprocess_outputs, to_rows
from ..weights.containers import is_container

Size = tuple[int, int]  # width and height


@dataclass(frozen=True)
class BackendOutput:
    """The outputs of a backend for one image.

    Attributes:
        layers: Output of each layer that the backend exposes, float32 [channels, height, width], by layer number.
        boxes: Detections after NMS, float32 [n, 6]: class, confidence, cx, cy, w, h relative to the input; None where
            the model has no heads.
    """

    layers: dict[int, Tensor]
    boxes: Tensor | None = None


class Backend:
    """One side of a comparison: ``load`` it for an input size, then ``run`` it on an input.

    Attributes:
        network: The cfg as this package reads it, for the sections and shapes of the layers; None without a cfg.
        dialect: The dialect of the file or library, if it is known before loading.
        size: Width and height of the input, if the file accepts no other.
        channels: Channels of the input, for backends without a network.
    """

    network: Network | None = None
    dialect: Dialect | None = None
    size: Size | None = None
    channels = 3

    def load(self, size: Size | None, dialect: Dialect | None) -> None:
        """Prepare for inputs of ``size``; None: the model's own. Raises DarknetError."""
        raise NotImplementedError

    def run(
        self, x: Tensor, threshold: float, nms: float, other: Network | None, nms_kind: str | None = None
    ) -> BackendOutput:
        """Run the model.

        Args:
            x: The input, float32 [1, channels, height, width] in 0..1.
            threshold: Score threshold of detections.
            nms: IoU threshold of NMS; 0 disables it.
            other: The network of the other side, if it has one: gives layer numbers to outputs without one.
            nms_kind: Kind of NMS; None: that of the model.
        """
        raise NotImplementedError


class NativeBackend(Backend):
    """A model run by this package."""

    def __init__(self, text: str) -> None:
        self.model = _find_model(text)

    def load(self, size: Size | None, dialect: Dialect | None) -> None:
        """Build the network and load its weights."""
        model = self.model
        network = loading.load(model.cfg, model.weights, dialect=dialect)
        if size not in (None, (network.shape.width, network.shape.height)):
            network = loading.load(model.cfg, model.weights, dialect=dialect, size=size)
        self.network = network

    def __str__(self) -> str:
        """Files and dialect."""
        return f"{file_names(self.model)} (this package, {self.network.dialect if self.network else ''})"

    @property
    def loaded_network(self) -> Network:
        """The network. Raises DarknetError before ``load``."""
        if self.network is None:
            raise DarknetError(f"{file_names(self.model)}: not loaded yet")
        return self.network

    def run(
        self, x: Tensor, threshold: float, nms: float, other: Network | None, nms_kind: str | None = None
    ) -> BackendOutput:
        """Return every layer's output and the detections."""
        network = self.loaded_network
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
        boxes = detect(network, outputs, size, threshold, nms, nms_kind) if network.heads else None
        return BackendOutput(layers, boxes)


class ExternalBackend(NativeBackend):
    """Another program that reads the cfg and weights files itself."""

    @property
    def weights(self) -> StrPath:
        """The .weights file. Raises WeightsError for a checkpoint."""
        if self.model.weights is None or is_container(self.model.weights):
            raise WeightsError(
                f"{file_names(self.model)}: only this package reads checkpoints: expected CFG,WEIGHTS (see convert)"
            )
        return self.model.weights


def _find_model(text: str) -> Model:
    """Return the files of ``MODEL[,WEIGHTS]``."""
    cfg, comma, weights = text.rpartition(",")
    if not comma or os.path.exists(text):
        cfg, weights = text, ""
    model = model_files.find(cfg, weights or None)
    if model.weights is None and not is_container(model.cfg):
        raise WeightsError(f"{text}: no weights: expected {text},FILE.weights")
    return model


def file_names(model: Model) -> str:
    """Return ``CFG,WEIGHTS`` as on the command line."""
    return ",".join(os.fspath(path) for path in (model.cfg, model.weights) if path is not None)


def detect(
    network: Network,
    outputs: Sequence[Tensor],
    size: Size,
    threshold: float,
    nms: float,
    nms_kind: str | None = None,
) -> Tensor:
    """Return the detections of the first image after NMS, float [n, 6], see ``postprocess.to_rows``.

    Args:
        network: A network with heads.
        outputs: What ``network(x)`` returned.
        size: Width and height of the network's input in pixels.
        threshold: Score threshold.
        nms: IoU threshold of NMS; 0 disables it.
        nms_kind: Kind of NMS; None: that of the network.
    """
    options = DecodeOptions(threshold)
    return to_rows(postprocess_outputs(network, outputs, size, options, nms=nms, nms_kind=nms_kind)[0])


def single_image_config(network: Network) -> Config:
    """Return the cfg with the input size of ``network``, for batches of one image and one time step."""
    values = {"batch": "1", "subdivisions": "1", "time_steps": "1"}
    options = network.options
    shape = network.shape
    if (0, 0) != (options.width, options.height) != (shape.width, shape.height):
        values |= {"width": str(shape.width), "height": str(shape.height)}
    first, *others = network.config.sections
    return dataclasses.replace(network.config, sections=(_with_values(first, values), *others))


def _with_values(section: Section, values: Mapping[str, str]) -> Section:
    others = tuple(entry for entry in section.entries if entry.key not in values)
    return dataclasses.replace(section, entries=(*(Entry(key, value) for key, value in values.items()), *others))
