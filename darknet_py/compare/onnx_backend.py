"""An ONNX file as a side of ``compare``: its outputs are told by their names and sizes (see ``program.Heads``)."""

from __future__ import annotations

import json
import os
import re

import torch
from torch import Tensor

from ..boxes import NMSKind, NMSOptions
from ..cfg import Dialect
from ..errors import DarknetError
from ..exporters.onnx.session import create_session
from ..network import Network
from ..postprocess import apply_nms, from_scores, to_rows
from .backends import Backend, BackendOutput, Size, decoded

_NUMBER = re.compile(r".*_(\d+)")


class OnnxBackend(Backend):
    """What ONNX Runtime makes of a file."""

    def __init__(self, path: str) -> None:
        self.path = path
        if not os.path.isfile(path):
            raise DarknetError(f"{path}: no such file")
        self.session = create_session(path)
        first, *self.states = self.session.get_inputs()
        self.input, self.shape = first.name, tuple(first.shape)
        if len(self.shape) == 4 and isinstance(self.shape[1], int):
            self.channels = self.shape[1]
        self.half = first.type == "tensor(float16)"
        rows, columns = self.shape[2:] if len(self.shape) == 4 else ("", "")
        self.size = (
            (columns, rows) if isinstance(rows, int) and isinstance(columns, int) and columns * rows > 1 else None
        )
        self.notes = dict(self.session.get_modelmeta().custom_metadata_map)
        written = self.notes.get("dialect")
        self.dialect = Dialect(written) if written else None

    def __str__(self) -> str:
        """File and runtime."""
        return f"{self.path} (ONNX Runtime)"

    def load(self, size: Size | None, dialect: Dialect | None) -> None:
        """Refuse a size that the file has not."""
        if None not in (self.size, size) and self.size != size:
            width, height = self.size or (0, 0)
            raise DarknetError(f"{self.path}: reads images of {width}x{height} alone: expected no other --size")

    def run(self, x: Tensor, threshold: float, nms: float, guide: Network | None) -> BackendOutput:
        """The heads' outputs, or the boxes that the file decodes itself."""
        size = (x.shape[3], x.shape[2])
        given = x if len(self.shape) == 4 else x.flatten(1)
        feeds = {self.input: given.half().numpy() if self.half else given.numpy()}
        for state in self.states:  # recurrent layers start from zeros
            feeds[state.name] = torch.zeros([d if isinstance(d, int) else 1 for d in state.shape]).numpy()
        names = [output.name for output in self.session.get_outputs() if not output.name.startswith("next_")]
        try:
            values = self.session.run(names, feeds)
        except Exception as error:
            raise DarknetError(f"{self.path}: ONNX Runtime: {str(error).strip()}") from error
        outputs = {name: torch.from_numpy(y).float() for name, y in zip(names, values, strict=True)}
        if "detections" in outputs:
            return BackendOutput({}, outputs["detections"][:, 1:])
        if {"boxes", "scores"} <= outputs.keys():
            detections = from_scores(outputs["boxes"][0], outputs["scores"][0], threshold)
            return BackendOutput({}, to_rows(apply_nms(detections, nms, self._suppression(guide))))
        layers = {number: y[0] for number, y in zip(self._numbers(outputs, guide), outputs.values(), strict=True)}
        if guide is None or not guide.heads:
            return BackendOutput(layers)
        return BackendOutput(layers, decoded(guide, list(outputs.values()), size, threshold, nms))

    def _numbers(self, outputs: dict[str, Tensor], guide: Network | None) -> list[int]:
        """Which layers the outputs are of: as their names say, else the other side's ends in order."""
        named = [_NUMBER.fullmatch(name) for name in outputs]
        if guide is None:
            return [int(name[1]) if name else place for place, name in enumerate(named)]
        ends = [n for n, layer in enumerate(guide) if layer in guide.heads] or [len(guide.layers) - 1]
        floats, wanted = [y[0].numel() for y in outputs.values()], [guide[end].shape.floats for end in ends]
        if floats != wanted:
            raise DarknetError(f"{self.path}: outputs of {floats} floats, but the other side's ends have {wanted}")
        return ends

    def _suppression(self, guide: Network | None) -> NMSOptions:
        """As the other side does it, else as the file notes it."""
        if guide is not None and guide.heads:
            return guide.heads[-1].nms_options
        noted = json.loads(self.notes.get("head_options", "[]"))
        return NMSOptions(NMSKind(noted[-1]["nms_kind"]), noted[-1]["beta_nms"]) if noted else NMSOptions()
