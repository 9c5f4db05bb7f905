"""Exported files and other ONNX files as a backend of ``compare``, run by their own runtimes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..boxes import NMSKind, NMSOptions
from ..cfg import Dialect
from ..errors import DarknetError
from ..exporters import metadata
from ..network import Network
from ..postprocess import apply_nms, from_scores, nms_options, to_rows, with_kind
from ..runtimes.reader import read_model
from .backends import Backend, BackendOutput, Size, detect

_FLOATS = ("float32", "float16")
_LAYER_NUMBER = re.compile(r".*_(\d+)")


class FileBackend(Backend):
    """A file in its runtime; the names and sizes of its outputs determine their meaning, see ``postprocess.Heads``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.model = read_model(path)
        inputs = self.model.inputs
        described = ", ".join(f"{spec.name} {spec.type} {list(spec.shape)}" for spec in inputs) or "none"
        if not inputs or len(inputs[0].shape) not in (2, 4) or any(spec.type not in _FLOATS for spec in inputs):
            raise DarknetError(
                f"{path}: inputs {described}: expected floats [batch, channels, height, width] or [batch, inputs]"
            )
        first, *self.states = inputs
        self.shape = first.shape
        if len(self.shape) == 4 and self.shape[3] in (1, 3) and self.shape[1] not in (1, 3):
            raise DarknetError(f"{path}: inputs {described}: channels last; expected [batch, channels, height, width]")
        if len(self.shape) == 4 and isinstance(self.shape[1], int):
            self.channels = self.shape[1]
        self.is_half = first.type == "float16"
        height, width = self.shape[2:] if len(self.shape) == 4 else ("", "")
        if isinstance(height, int) and isinstance(width, int) and width * height > 1:
            self.size = width, height
        self.nms_options = NMSOptions()
        self.output_names = self.model.outputs
        try:
            self._read_metadata(self.model.metadata)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise DarknetError(
                f"{path}: invalid metadata: expected those of an exported file ({error!r:.200})"
            ) from error

    def _read_metadata(self, entries: Mapping[str, str]) -> None:
        """Take the names of outputs, the dialect and the NMS options from the metadata of a file of this package."""
        if not metadata.is_ours(entries):
            return
        if dialect := entries.get("dialect"):
            self.dialect = Dialect(dialect)
        names = json.loads(entries.get("outputs", "[]"))
        if len(names) == len(self.output_names):  # ncnn and some versions of OpenVINO have names of their own
            self.output_names = tuple(map(str, names))
        if heads := json.loads(entries.get("head_options", "[]")):
            last = heads[-1]
            sigma = float(last.get("sigma_nms", NMSOptions.sigma))
            self.nms_options = NMSOptions(NMSKind(last["nms_kind"]), float(last["beta_nms"]), sigma)

    def __str__(self) -> str:
        """File and runtime."""
        return f"{self.path} ({self.model.runtime})"

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
        arrays = [inputs.half().numpy() if self.is_half else inputs.numpy()]
        for state in self.states:  # recurrent layers start from zeros
            arrays.append(np.zeros([d if isinstance(d, int) else 1 for d in state.shape], np.float32))
        outputs: dict[str, Tensor] = {}
        values: list[object] = [*self.model.run(arrays)]  # of an ONNX file of another program not all are arrays
        for name, value in zip(self.output_names, values, strict=True):
            if name.startswith("next_"):
                continue
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub" or value.shape[:1] == ():
                raise DarknetError(f"{self.path}: output {name} is not an array of numbers [batch, ...]")
            outputs[name] = torch.from_numpy(value).float()
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
