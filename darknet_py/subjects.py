"""What ``compare`` can hold against each other: one class a kind, told apart by how the argument is written.

    MODEL[,WEIGHTS]                  this package: a cfg, a .pt or .safetensors checkpoint, a catalogue name
    x.onnx                           ONNX Runtime; what ``darknet-py export`` writes, and other raw heads
    opencv:MODEL[,WEIGHTS]           OpenCV 4 reading the cfg
    darknet:[LIBRARY:]MODEL[,WEIGHTS]   a C library; without LIBRARY the system's

A subject is loaded at a size, then run on one input; ``network`` is this package's reading of its cfg, where it
has one: it tells what layer the numbers belong to.
"""

from __future__ import annotations

import os
import pathlib
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import cfg as cfg_
from . import libdarknet, loading, models
from .activations import Activation
from .boxes import Candidates, suppress
from .cfg import Dialect
from .containers import is_container
from .errors import DarknetError, WeightsError
from .layers import Head, Selection
from .models import Model
from .network import Network

Size = tuple[int, int]  # width and height
_LIBRARY = re.compile(r"(.+?\.(?:so|dylib|dll)[.\d]*):(.+)")


@dataclass(frozen=True)
class Found:
    """Outputs [channels, height, width] by layer, and rows of class, confidence, x, y, w, h relative to the input."""

    layers: dict[int, Tensor]
    boxes: Tensor | None = None


class Subject:
    """One side of a comparison. ``dialect``: whose rules it keeps to, where that is known before loading."""

    network: Network | None = None
    dialect: Dialect | None = None
    size: Size | None = None  # of the input, where the file has no other
    channels = 3  # of the input, where there is no network to ask

    def load(self, size: Size | None, dialect: Dialect | None) -> None:
        """Make it ready for inputs of ``size``; None: its own. Raises DarknetError."""
        raise NotImplementedError

    def run(self, x: Tensor, threshold: float, nms: float, guide: Network | None) -> Found:
        """Outputs for ``x`` [1, channels, height, width]. ``guide``: the other side's network, if any."""
        raise NotImplementedError


class Ours(Subject):
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
        return f"{_files(self.model)} (this package, {self.network.dialect if self.network else ''})"

    @property
    def loaded(self) -> Network:
        """The network, once it is loaded."""
        if self.network is None:
            raise DarknetError(f"{_files(self.model)}: not loaded yet")
        return self.network

    def run(self, x: Tensor, threshold: float, nms: float, guide: Network | None) -> Found:
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
        return Found(layers, decoded(network, outputs, size, threshold, nms) if network.heads else None)


class Foreign(Ours):
    """A network of this package's reading that another program runs from the files themselves."""

    @property
    def weights(self) -> cfg_.Path:
        """The .weights file. Raises WeightsError for a checkpoint."""
        if self.model.weights is None or is_container(self.model.weights):
            raise WeightsError(f"{_files(self.model)}: only this package reads it: expected CFG,WEIGHTS (see convert)")
        return self.model.weights


class C(Foreign):
    """A network of this package's reading that a C library runs."""

    def __init__(self, text: str) -> None:
        named = _LIBRARY.fullmatch(text)
        self.library, model = named.groups() if named else (libdarknet.installed(), text)
        super().__init__(model)
        self.dialect = libdarknet.dialect(self.library)

    def __str__(self) -> str:
        """Files and library."""
        return f"{_files(self.model)} ({self.library}, {self.dialect})"

    def load(self, size: Size | None, dialect: Dialect | None) -> None:
        """Read the cfg by the library's rules."""
        super().load(size, self.dialect)

    def run(self, x: Tensor, threshold: float, nms: float, guide: Network | None) -> Found:
        """Every layer's output and the library's own boxes."""
        return Found(*libdarknet.run(self.library, self.loaded, self.weights, x, threshold, nms))


class OpenCV(Foreign):
    """A network of this package's reading that OpenCV 4 runs from the cfg."""

    def __init__(self, text: str) -> None:
        try:
            import cv2
        except ImportError as error:
            raise DarknetError("opencv: not installed: pip install 'opencv-python-headless<5'") from error
        self.read: Any = getattr(cv2.dnn, "readNetFromDarknet", None)
        if self.read is None:
            raise DarknetError(
                f"opencv: version {cv2.__version__} reads no cfg: pip install 'opencv-python-headless<5'"
            )
        self.version = cv2.__version__
        super().__init__(text)

    def __str__(self) -> str:
        """Files and version."""
        return f"{_files(self.model)} (OpenCV {self.version})"

    def run(self, x: Tensor, threshold: float, nms: float, guide: Network | None) -> Found:
        """The outputs of the layers that OpenCV names by number; of heads the boxes alone, which it decodes itself."""
        import cv2

        network, weights = self.loaded, os.fspath(self.weights)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "network.cfg")
            path.write_text(cfg_.dumps(libdarknet.at_size(network)), encoding="utf-8", errors="surrogateescape")
            try:
                made = self.read(str(path), weights)
                numbers = _by_number(made.getLayerNames(), network)
                ends = [name for name in made.getUnconnectedOutLayersNames() if network.heads]
                made.setInput(x.numpy())
                outputs = made.forward([*numbers.values(), *ends])
            except cv2.error as error:
                raise DarknetError(f"{self.model.cfg}: OpenCV: {str(error).strip()}") from error
        layers = {number: torch.from_numpy(y)[0] for number, y in zip(numbers, outputs, strict=False)}
        if not network.heads:
            return Found(layers)
        rows = torch.cat([torch.from_numpy(y).reshape(-1, y.shape[-1]) for y in outputs[len(numbers) :]])
        probs = torch.where(rows[:, 5:] > threshold, rows[:, 5:], 0)
        return Found(layers, _kept(Candidates(rows[:, :4], rows[:, 4], probs), network, nms))


def find(text: str) -> Subject:
    """The subject that an argument means. Raises DarknetError."""
    kind, colon, rest = text.partition(":")
    if colon and kind in ("opencv", "darknet"):
        return (OpenCV if kind == "opencv" else C)(rest)
    if text.lower().endswith(".onnx"):
        from .onnx_subject import Onnx

        return Onnx(text)
    return Ours(text)


def _model(text: str) -> Model:
    """The files of ``MODEL[,WEIGHTS]``."""
    cfg, comma, weights = text.rpartition(",")
    if not comma or os.path.exists(text):
        cfg, weights = text, ""
    model = models.find(cfg, weights or None)
    if model.weights is None and not is_container(model.cfg):
        raise WeightsError(f"{text}: no weights: expected {text},FILE.weights")
    return model


def _files(model: Model) -> str:
    return ",".join(os.fspath(path) for path in (model.cfg, model.weights) if path is not None)


def _by_number(names: list[str], network: Network) -> dict[int, str]:
    """For each layer but heads what OpenCV calls the last of its parts; activations it counts one higher."""
    found: dict[int, str] = {}
    kinds = {str(activation) for activation in Activation}
    for name in names:
        kind, _, digits = name.rpartition("_")
        number = int(digits) - (kind in kinds) if digits.isdecimal() else -1
        if 0 <= number < len(network.layers) and not isinstance(network[number], Head):
            found[number] = name
    return found


def decoded(network: Network, outputs: Sequence[Tensor], size: Size, threshold: float, nms: float) -> Tensor:
    """Rows of what ``network``'s heads find in their outputs and suppression leaves."""
    which = Selection(threshold)
    each = [head.decode(y.float(), size, which)[0] for head, y in zip(network.heads, outputs, strict=True)]
    return _kept(Candidates(*map(torch.cat, zip(*each, strict=True))), network, nms)


def rows_of(found: Candidates) -> Tensor:
    """A row for each box and class whose probability is not 0: class, confidence, x, y, w, h."""
    box, cls = (found.probs > 0).nonzero(as_tuple=True)
    return torch.cat((cls[:, None].float(), found.probs[box, cls][:, None], found.boxes[box]), dim=1)


def _kept(found: Candidates, network: Network, nms: float) -> Tensor:
    return rows_of(suppress(found, nms, network.heads[-1].suppression) if nms else found)
