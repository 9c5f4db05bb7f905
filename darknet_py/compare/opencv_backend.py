"""OpenCV 4 as a backend of ``compare``: it reads cfg and weights itself and exposes its layers by name."""

from __future__ import annotations

import os
import pathlib
import tempfile
from typing import Any

import torch
from torch import Tensor

from .. import cfg as cfg_
from ..activations import Activation
from ..errors import DarknetError
from ..layers import Head
from ..network import Network
from ..postprocess import apply_nms, from_scores, nms_options, to_rows
from .backends import BackendOutput, ExternalBackend, file_names, single_image_config


class OpenCVBackend(ExternalBackend):
    """A model run by OpenCV 4."""

    def __init__(self, text: str) -> None:
        try:
            import cv2
        except ImportError as error:
            raise DarknetError("opencv: not installed: pip install 'opencv-python-headless<5'") from error
        self.read_net: Any = getattr(cv2.dnn, "readNetFromDarknet", None)
        if self.read_net is None:
            raise DarknetError(
                f"opencv: version {cv2.__version__} cannot read a cfg: pip install 'opencv-python-headless<5'"
            )
        self.version = cv2.__version__
        super().__init__(text)

    def __str__(self) -> str:
        """Files and version."""
        return f"{file_names(self.model)} (OpenCV {self.version})"

    def run(
        self, x: Tensor, threshold: float, nms: float, other: Network | None, nms_kind: str | None = None
    ) -> BackendOutput:
        """Return the outputs of the layers that OpenCV names by number, and the boxes of heads.

        The layers are those of the network without fusion; the boxes are those of the network as OpenCV runs it.
        """
        import cv2

        network = self.loaded_network
        weights = os.fspath(self.weights)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "network.cfg")
            path.write_text(cfg_.dumps(single_image_config(network)), encoding="utf-8", errors="surrogateescape")
            try:
                fused, unfused = self.read_net(str(path), weights), self.read_net(str(path), weights)
                # With fusion the outputs of layers inside a fused group are uninitialised memory.
                unfused.enableFusion(False)
                names = _names_by_number(unfused.getLayerNames(), network)
                unfused.setInput(x.numpy())
                outputs = unfused.forward(list(names.values()))
                fused.setInput(x.numpy())
                head_outputs = fused.forward(fused.getUnconnectedOutLayersNames()) if network.heads else ()
            except cv2.error as error:
                raise DarknetError(f"{self.model.cfg}: OpenCV: {str(error).strip()}") from error
        layers = {number: torch.from_numpy(y)[0] for number, y in zip(names, outputs, strict=True)}
        if not network.heads:
            return BackendOutput(layers)
        rows = torch.cat([torch.from_numpy(y).reshape(-1, y.shape[-1]) for y in head_outputs])
        detections = from_scores(rows[:, :4], rows[:, 5:], threshold)
        options = nms_options(network, nms_kind)
        return BackendOutput(layers, to_rows(apply_nms(detections, nms, options, min_score=threshold)))


def _names_by_number(names: list[str], network: Network) -> dict[int, str]:
    """Return OpenCV's name of the last part of each layer except heads; an activation's number is one too high."""
    by_number: dict[int, str] = {}
    activations = {str(activation) for activation in Activation}
    for name in names:
        kind, _, digits = name.rpartition("_")
        number = int(digits) - (kind in activations) if digits.isdecimal() else -1
        if 0 <= number < len(network.layers) and not isinstance(network[number], Head):
            by_number[number] = name
    return by_number
