"""``ExportedModel``: an exported file as the engine of ``Detector``, ``Classifier`` and ``evaluate``."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .. import loading
from .._typing import StrPath
from ..errors import DarknetError
from ..exporters import metadata
from ..loading import NetworkLoader
from ..messages import get_logger
from ..network import Network, unwrap
from ..postprocess import Heads
from ..processor import has_vnni, is_x86
from ..runtimes import is_model_file
from ..runtimes.reader import read_model
from .converted_engines import require_shape
from .engines import DEFAULT, Engine

_log = get_logger(__name__)


class ExportedModel:
    """A file of ``export``, run by its own runtime, see ``runtimes.reader.read_model``.

    It is a function of images, float32 [batch, channels, height, width] in 0..1, of any batch: a file of fixed batch
    runs several times. Images are prepared, and boxes decoded, by the network's own code, from the cfg that the file's
    metadata hold; without them the file is refused.

    Args:
        path: The file.
        size: Width and height of the input in pixels, for a file of dynamic size; None: those of the network.
        threads: CPU threads; 0: those of torch.

    Attributes:
        path: The file.
        network: The network that was exported, without weights: it cannot be called.
        form: What the outputs are, see ``postprocess.decode``.
        letterbox: Whether images are letterboxed.
        threshold: Score threshold of a file with ``Heads.NMS``; no detection below it is returned.
        weight_bits: Bits of a weight of the convolutions: 32, 16, or in an int8 file 8 or 7.

    Raises:
        DarknetError: There is no such file, it was not written by ``export``, its runtime is not installed, it does not
            accept the size, or it has recurrent layers.
    """

    def __init__(self, path: StrPath, *, size: tuple[int, int] | None = None, threads: int = 0) -> None:
        self.path = os.fspath(path)
        self._threads = threads
        self._model = read_model(path, threads=threads or torch.get_num_threads())
        description = metadata.read(self._model.metadata, self.path, size)
        if description.network.stateful:
            raise DarknetError(f"{self.path}: does not keep the state of recurrent layers: expected cfg and weights")
        self.network = description.network
        self.form = description.heads
        self.letterbox = description.letterbox
        self.threshold = description.threshold
        self.weight_bits = description.weight_bits
        if self.weight_bits == 8 and is_x86() and has_vnni() is False:
            _log.warning(
                "%s: has weights of 8 bits, whose sums saturate on this processor without VNNI: expected a file with "
                "weights of 7 bits",
                self.path,
            )
        self.network.register_forward_pre_hook(_Refusal(self.path))
        self._shape = self._input_shape()

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Compute the outputs that ``form`` describes, on the device of ``images``."""
        require_shape(images, self.network, self.path)
        array = images.reshape(-1, *self._shape).contiguous().numpy(force=True)
        fixed = self._model.inputs[0].shape[0]
        size = fixed if isinstance(fixed, int) else max(1, len(array))
        parts: list[list[Tensor]] = []
        for start in range(0, len(array), size):
            part = array[start : start + size]
            missing = size - len(part)
            inputs = np.concatenate((part, np.zeros((missing, *self._shape), np.float32))) if missing else part
            outputs = self._run(inputs)
            if self.form is Heads.NMS:  # rows that begin with the number of the image
                (rows,) = outputs
                parts += [[rows[rows[:, 0] == image, 1:].to(images.device)] for image in range(len(part))]
            else:
                parts.append([output[: len(part)].to(images.device) for output in outputs])
        if self.form is Heads.NMS:
            return [rows for (rows,) in parts]
        return [torch.cat(column) if len(column) > 1 else column[0] for column in zip(*parts, strict=True)]

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the file's name."""
        size = self.network.shape.width, self.network.shape.height
        return _open, (self.path, size if min(size) > 1 else None, self._threads)

    def __repr__(self) -> str:
        return f"ExportedModel({self.path!r}, {self._model.runtime})"

    @property
    def runtime(self) -> str:
        """Name of the runtime."""
        return self._model.runtime

    def as_engine(self, engine: str | Engine) -> Engine:
        """Return this engine, unless another than the default is asked for. Raises DarknetError."""
        if engine != DEFAULT:
            raise DarknetError(f"{self.path}: runs in {self._model.runtime}: expected no engine, got {engine!r}")
        return self

    def require_network(self, network: Network) -> None:
        """Raise DarknetError unless the file was exported from this network, for its input size."""
        ours = metadata.fingerprints(network)
        differ = [key.partition("_")[0] for key, value in ours.items() if self._model.metadata.get(key) != value]
        if differ:
            raise DarknetError(f"{self.path}: was exported from another network: its {' and '.join(differ)} differ")
        if network.shape != self.network.shape:
            sizes = [f"{shape.width} x {shape.height}" for shape in (network.shape, self.network.shape)]
            raise DarknetError(f"{self.path}: expected a file for inputs of {sizes[0]}, found {sizes[1]}")

    def check_options(self, threshold: float, class_map: object) -> None:
        """Raise DarknetError, or warn, where options of a detector ask for boxes that the file does not return."""
        if class_map is not False and self.form is not Heads.RAW:
            raise DarknetError(f"{self.path}: class_map needs the heads' outputs: expected a file with heads=raw")
        if self.form is Heads.NMS and threshold < self.threshold:
            _log.warning("%s: returns no detections below its own threshold, %g", self.path, self.threshold)

    def require_all_boxes(self) -> None:
        """Raise DarknetError for a file whose own threshold and NMS leave out boxes that mAP depends on."""
        if self.form is Heads.NMS:
            raise DarknetError(f"{self.path}: mAP needs all boxes: expected a file with heads=raw or boxes")

    def _run(self, inputs: npt.NDArray[np.float32]) -> list[Tensor]:
        """Compute the outputs. Raises DarknetError for others than those that the metadata describe."""
        arrays = self._model.run([inputs])
        shapes = [np.shape(array) for array in arrays]
        if self.form is Heads.RAW:
            expected = [(len(inputs), self.network[index].shape.floats) for index in self.network.outputs]
            fits = [(*shape[:1], math.prod(shape[1:])) for shape in shapes] == expected
        elif self.form is Heads.BOXES:
            fits = [(len(shape), shape[-1:]) for shape in shapes[:1]] == [(3, (4,))] and len(shapes) == 2
            fits = fits and len(shapes[1]) == 3 and shapes[0][:2] == shapes[1][:2]
        else:
            fits = [(len(shape), shape[-1:]) for shape in shapes] == [(2, (7,))]
        if not fits:
            found = ", ".join(map(str, shapes)) or "none"
            raise DarknetError(
                f"{self.path}: outputs of shapes {found}: expected those of heads={self.form} of its cfg"
            )
        return [torch.from_numpy(array) for array in arrays]

    def _input_shape(self) -> tuple[int, ...]:
        """Return the shape of the input for one image."""
        if not self._model.inputs:
            raise DarknetError(f"{self.path}: has no input: expected one of images")
        first, *others = self._model.inputs
        shape = self.network.shape
        expected = tuple(shape) if len(first.shape) == 4 else (shape.floats,)
        fits = all(isinstance(d, str) or d == wanted for d, wanted in zip(first.shape[1:], expected, strict=False))
        if others or len(first.shape) not in (2, 4) or not fits:
            found = " x ".join(map(str, first.shape))
            raise DarknetError(f"{self.path}: its input is {found}: expected {' x '.join(map(str, expected))} after it")
        return expected


class _Refusal:
    """A hook of a network without weights."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, _network: nn.Module, _inputs: Any) -> None:
        raise DarknetError(f"{self.path}: its network has no weights here: expected Detector or Classifier of the file")


def _open(path: str, size: tuple[int, int] | None, threads: int) -> ExportedModel:
    return ExportedModel(path, size=size, threads=threads)


ModelSource = nn.Module | StrPath | ExportedModel | NetworkLoader
"""A network, see ``network.unwrap``; a name or file, see ``loading.load``; an exported file; or a loader."""


class OpenedModel(NamedTuple):
    """What ``Detector``, ``Classifier`` and ``evaluate`` run.

    Attributes:
        network: Prepares images and decodes boxes.
        engine: Computes.
        letterbox: Whether images are letterboxed; None: by the cfg and dialect.
        file: The exported file, if it is one.
        reload: Loads the network again, if nobody else has it, so that its plain weights may be freed.
    """

    network: Network
    engine: str | Engine
    letterbox: bool | None
    file: ExportedModel | None = None
    reload: Callable[[], Network] | None = None

    @property
    def source(self) -> ModelSource:
        """What ``open_model`` takes in place of what was opened."""
        return self.file or (self.network if self.reload is None else NetworkLoader(self.reload, self.network))


def open_model(model: ModelSource, engine: str | Engine = DEFAULT, letterbox: bool | None = None) -> OpenedModel:
    """Open what ``Detector``, ``Classifier`` and ``evaluate`` are given.

    Args:
        model: What is run.
        engine: The engine that is asked for, or an exported file of the model, which computes in its place.
        letterbox: Whether images are letterboxed; None: as the file says.

    Raises:
        DarknetError: Another engine than the default is asked for with an exported file, or it cannot be opened.
    """
    if isinstance(model, str | os.PathLike) and is_model_file(model):
        model = ExportedModel(model)
    if isinstance(model, ExportedModel):
        return OpenedModel(
            model.network, model.as_engine(engine), model.letterbox if letterbox is None else letterbox, model
        )
    if isinstance(model, str | os.PathLike):
        model = NetworkLoader(functools.partial(loading.load, model))
    reload = model.load if isinstance(model, NetworkLoader) else None
    network = model.take() if isinstance(model, NetworkLoader) else unwrap(model)
    if isinstance(engine, str) and is_model_file(engine):
        file = ExportedModel(engine)
        file.require_network(network)
        return OpenedModel(network, file, letterbox, file)
    # Random weights cannot be loaded again.
    return OpenedModel(network, engine, letterbox, reload=None if network.initial_values else reload)


def form_of(engine: object) -> Heads:
    """Return what the outputs of an engine are: ``Heads.RAW`` but for an ``ExportedModel``."""
    return engine.form if isinstance(engine, ExportedModel) else Heads.RAW
