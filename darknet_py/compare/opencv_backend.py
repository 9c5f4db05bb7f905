"""OpenCV 4 as a side of ``compare``: it reads cfg and weights itself, and shows its layers by name."""

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
from ..postprocess import apply_nms, from_scores, to_rows
from .backends import BackendOutput, ExternalBackend, at_size, files


class OpenCVBackend(ExternalBackend):
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
        return f"{files(self.model)} (OpenCV {self.version})"

    def run(self, x: Tensor, threshold: float, nms: float, guide: Network | None) -> BackendOutput:
        """The outputs of the layers that OpenCV names by number; of heads the boxes alone.

        The boxes are those of the network as OpenCV runs it, the layers those of the network without fusion.
        """
        import cv2

        network, weights = self.loaded, os.fspath(self.weights)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "network.cfg")
            path.write_text(cfg_.dumps(at_size(network)), encoding="utf-8", errors="surrogateescape")
            try:
                whole, plain = self.read(str(path), weights), self.read(str(path), weights)
                # Fused, it returns memory that nothing was written to for layers within what it has fused.
                plain.enableFusion(False)
                numbers = _by_number(plain.getLayerNames(), network)
                plain.setInput(x.numpy())
                outputs = plain.forward(list(numbers.values()))
                whole.setInput(x.numpy())
                ends = whole.forward(whole.getUnconnectedOutLayersNames()) if network.heads else ()
            except cv2.error as error:
                raise DarknetError(f"{self.model.cfg}: OpenCV: {str(error).strip()}") from error
        layers = {number: torch.from_numpy(y)[0] for number, y in zip(numbers, outputs, strict=True)}
        if not network.heads:
            return BackendOutput(layers)
        rows = torch.cat([torch.from_numpy(y).reshape(-1, y.shape[-1]) for y in ends])
        detections = from_scores(rows[:, :4], rows[:, 5:], threshold)
        return BackendOutput(layers, to_rows(apply_nms(detections, nms, network.heads[-1].nms_options)))


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
