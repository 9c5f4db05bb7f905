"""ONNX Runtime as a backend of ``compare``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..boxes import NMSKind, NMSOptions
from ..cfg import Dialect
from ..errors import DarknetError
from ..exporters.onnx.session import create_session
from ..network import Network
from ..postprocess import apply_nms, from_scores, nms_options, to_rows, with_kind
from .backends import Backend, BackendOutput, Size, detect

_FLOATS = ("tensor(float)", "tensor(float16)")
_LAYER_NUMBER = re.compile(r".*_(\d+)")


class OnnxBackend(Backend):
    """An ONNX file in ONNX Runtime; the names and sizes of its outputs determine their meaning, see ``Heads``."""

    def __init__(self, path: str) -> None:
        self.path = path
        if not os.path.isfile(path):
            raise DarknetError(f"{path}: no such file")
        self.session = create_session(path)
        inputs = self.session.get_inputs()
        described = ", ".join(f"{value.name} {value.type} {value.shape}" for value in inputs) or "none"
        if not inputs or len(inputs[0].shape) not in (2, 4) or any(value.type not in _FLOATS for value in inputs):
            raise DarknetError(
                f"{path}: inputs {described}: expected floats [batch, channels, height, width] or [batch, inputs]"
            )
        first, *self.states = inputs
        self.input = first.name
        self.shape = tuple(first.shape)
        if len(self.shape) == 4 and self.shape[3] in (1, 3) and self.shape[1] not in (1, 3):
            raise DarknetError(f"{path}: inputs {described}: channels last; expected [batch, channels, height, width]")
        if len(self.shape) == 4 and isinstance(self.shape[1], int):
            self.channels = self.shape[1]
        self.is_half = first.type == "tensor(float16)"
        height, width = self.shape[2:] if len(self.shape) == 4 else ("", "")
        if isinstance(height, int) and isinstance(width, int) and width * height > 1:
            self.size = width, height
        self.nms_options = NMSOptions()
        try:
            self._read_metadata(dict(self.session.get_modelmeta().custom_metadata_map))
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise DarknetError(
                f"{path}: invalid metadata: expected those of an exported file ({error!r:.200})"
            ) from error

    def _read_metadata(self, metadata: Mapping[str, str]) -> None:
        """Take the dialect and the NMS options from the metadata of a file of this package."""
        if not metadata.get("producer", "").startswith("darknet_py"):
            return  # other programs may use the same keys with another meaning
        if dialect := metadata.get("dialect"):
            self.dialect = Dialect(dialect)
        if heads := json.loads(metadata.get("head_options", "[]")):
            last = heads[-1]
            sigma = float(last.get("sigma_nms", NMSOptions.sigma))
            self.nms_options = NMSOptions(NMSKind(last["nms_kind"]), float(last["beta_nms"]), sigma)

    def __str__(self) -> str:
        """File and runtime."""
        return f"{self.path} (ONNX Runtime)"

    def load(self, size: Size | None, dialect: Dialect | None) -> None:
        """Raise DarknetError for a size that the file does not accept."""
        if self.size is not None and size is not None and self.size != size:
            width, height = self.size
            raise DarknetError(f"{self.path}: its input is {width}x{height}: expected --imgsz {width} {height}")

    def run(
        self, x: Tensor, threshold: float, nms: float, other: Network | None, nms_kind: str | None = None
    ) -> BackendOutput:
        """Return the heads' outputs, or the boxes that the file decodes itself."""
        size = (x.shape[3], x.shape[2])
        inputs = x if len(self.shape) == 4 else x.flatten(1)
        feeds = {self.input: inputs.half().numpy() if self.is_half else inputs.numpy()}
        for state in self.states:  # recurrent layers start from zeros
            feeds[state.name] = torch.zeros([d if isinstance(d, int) else 1 for d in state.shape]).numpy()
        names = [output.name for output in self.session.get_outputs() if not output.name.startswith("next_")]
        try:
            values = self.session.run(names, feeds)
        except Exception as error:  # onnxruntime's exceptions are defined in C++ and have no common base class
            raise DarknetError(f"{self.path}: ONNX Runtime: {' '.join(str(error).split())}") from error
        for name, value in zip(names, values, strict=True):
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub" or value.shape[:1] == ():
                raise DarknetError(f"{self.path}: output {name} is not an array of numbers [batch, ...]")
        outputs = {name: torch.from_numpy(y).float() for name, y in zip(names, values, strict=True)}
        if "detections" in outputs:
            self._check_shape("detections", outputs["detections"], "n", 7)
            return BackendOutput({}, outputs["detections"][:, 1:])
        if {"boxes", "scores"} <= outputs.keys():
            self._check_shape("boxes", outputs["boxes"], 1, "n", 4)
            self._check_shape("scores", outputs["scores"], 1, outputs["boxes"].shape[1], "classes")
            own = nms_options(other) if other is not None and other.heads else self.nms_options
            options = with_kind(own, nms_kind)
            detections = from_scores(outputs["boxes"][0], outputs["scores"][0], threshold)
            return BackendOutput({}, to_rows(apply_nms(detections, nms, options, min_score=threshold)))
        numbers = self._layer_numbers(outputs, other)
        layers = {number: y[0] for number, y in zip(numbers, outputs.values(), strict=True)}
        if other is None or not other.heads:
            return BackendOutput(layers)
        return BackendOutput(layers, detect(other, list(outputs.values()), size, threshold, nms, nms_kind))

    def _check_shape(self, name: str, output: Tensor, *expected: int | str) -> None:
        """Raise DarknetError unless an output has the expected lengths; a text stands for any length."""
        same = [isinstance(e, str) or e == length for e, length in zip(expected, output.shape, strict=False)]
        if len(expected) != output.dim() or not all(same):
            wanted = ", ".join(map(str, expected))
            raise DarknetError(f"{self.path}: output {name} has the shape {tuple(output.shape)}: expected [{wanted}]")

    def _layer_numbers(self, outputs: dict[str, Tensor], other: Network | None) -> list[int]:
        """Return the layer number of each output: the other side's heads in order, else from the output's name."""
        if other is None:
            matches = [_LAYER_NUMBER.fullmatch(name) for name in outputs]
            return [int(match[1]) if match else position for position, match in enumerate(matches)]
        ends = [n for n, layer in enumerate(other) if layer in other.heads] or [len(other.layers) - 1]
        floats = [y[0].numel() for y in outputs.values()]
        expected = [other[end].shape.floats for end in ends]
        if floats != expected:
            raise DarknetError(f"{self.path}: outputs of {floats} floats: expected {expected}, as in the other model")
        return ends
