"""For those who come from OpenCV: ``DetectionModel`` and ``readNetFromDarknet`` with cv2.dnn's names.

OpenCV 5 reads no Darknet networks any more. What stands here takes the same calls with the same arguments
and returns arrays of the same shapes and types; OpenCV itself is not needed. Frames are [height, width, 3]
of uint8 in BGR order, as ``cv2.imread`` and ``VideoCapture`` give them. Steps in which OpenCV differs from
Darknet are OpenCV's here: how a frame is resized, one class per box, boxes in whole pixels that start
within the frame. For Darknet's own boxes use ``Detector``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .._typing import StrPath
from ..boxes import NMSOptions, nms_keep
from ..errors import DataError
from ..loading import load
from ..network import Network
from ..postprocess import decode_dense, require_heads
from ..weights.containers import is_container

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Found = tuple[Ints, Floats, Ints] | tuple[tuple[()], tuple[()], tuple[()]]


def readNetFromDarknet(cfgFile: StrPath, darknetModel: StrPath | None = None) -> Network:
    """The network of a cfg and a .weights file, for ``DetectionModel``."""
    return load(cfgFile, darknetModel)


class DetectionModel:
    """cv2.dnn.DetectionModel for Darknet's networks.

    ``model``, ``config``: the .weights file and the cfg, in either order as in cv2, or a checkpoint (.pt,
    .safetensors) alone, or a Network. ``device``: where PyTorch computes.
    """

    def __init__(self, model: StrPath | Network, config: StrPath | None = None, *, device: str = "cpu") -> None:
        self.network = model.to(device) if isinstance(model, Network) else _load(model, config, device)
        require_heads(self.network)
        self._size: tuple[int, int] | None = None
        self._scale, self._mean, self._swap, self._across = 1.0, (0.0, 0.0, 0.0), False, False

    def setInputParams(
        self,
        scale: float = 1.0,
        size: tuple[int, int] | None = None,
        mean: float | Sequence[float] = (0, 0, 0),
        swapRB: bool = False,
        crop: bool = False,
    ) -> None:
        """Set how a frame becomes the input: (resized frame - mean) * scale; Darknet's are 1/255 and swapRB."""
        self.setInputScale(scale).setInputMean(mean).setInputSwapRB(swapRB).setInputCrop(crop)
        if size is not None:
            self.setInputSize(size)

    def setInputSize(self, width: int | Sequence[int], height: int | None = None) -> DetectionModel:
        """Width and height of the input, as two numbers or one pair."""
        pair = (width, height) if isinstance(width, int) else tuple(width)
        if len(pair) != 2 or not all(isinstance(n, int | np.integer) and n > 0 for n in pair):
            raise DataError(f"size: expected width and height in pixels, got {pair}")
        self._size = (int(pair[0]), int(pair[1] or 0))
        return self

    def setInputScale(self, scale: float) -> DetectionModel:
        """What values are multiplied by after the mean is taken off."""
        self._scale = float(np.ravel(scale)[0])
        return self

    def setInputMean(self, mean: float | Sequence[float]) -> DetectionModel:
        """What is taken off values in 0..255: one number (as cv2: of the first channel), or one a channel."""
        values = [float(value) for value in np.ravel(mean)][:3]
        self._mean = (*values, *[0.0] * (3 - len(values)))  # type: ignore[assignment]
        return self

    def setInputSwapRB(self, swapRB: bool) -> DetectionModel:
        """Whether to exchange red and blue: True for frames in BGR, as the networks are trained on RGB."""
        self._swap = bool(swapRB)
        return self

    def setInputCrop(self, crop: bool) -> DetectionModel:
        """False alone: boxes of a cropped frame would not fit the frame, in cv2 either."""
        if crop:
            raise DataError("crop=True: boxes would be those of the crop; expected False (or crop the frame yourself)")
        return self

    def setNmsAcrossClasses(self, value: bool) -> DetectionModel:
        """Whether a box may take away one of another class."""
        self._across = bool(value)
        return self

    def getNmsAcrossClasses(self) -> bool:
        """What ``setNmsAcrossClasses`` set."""
        return self._across

    def setPreferableBackend(self, backendId: int) -> DetectionModel:
        """Nothing: PyTorch computes. For another device give ``device=``."""
        return self

    setPreferableTarget = enableWinograd = setOutputNames = setPreferableBackend

    def predict(self, frame: npt.NDArray[np.uint8]) -> tuple[Floats, ...]:
        """A row [5 + classes] for each box, an array a head: x y w h relative to the frame, then probabilities.

        Between them stands the largest probability, where cv2 has the objectness.
        """
        return tuple(np.concatenate(parts, axis=1) for parts in self._rows(frame))

    def detect(
        self,
        frame: npt.NDArray[np.uint8],
        confThreshold: float = 0.5,
        nmsThreshold: float = 0.0,
    ) -> Found:
        """Class numbers [n] of int32, confidences [n] of float32, boxes [n, 4] of int32 (left, top, width, height).

        Three empty tuples where there is nothing, as cv2 does. ``confThreshold``: lowest probability of
        the box's likeliest class. ``nmsThreshold``: overlap above which the weaker box goes; 0: none goes.
        """
        rows = [np.concatenate(parts, axis=1) for parts in self._rows(frame)]
        table = np.concatenate(rows)
        confidences, classes = table[:, 5:].max(axis=1), table[:, 5:].argmax(axis=1).astype(np.int32)
        kept = np.flatnonzero(confidences >= np.float32(confThreshold))
        boxes = _pixels(table[kept, :4], frame.shape[1], frame.shape[0])
        classes, confidences = classes[kept], confidences[kept]
        if nmsThreshold:
            order = self._suppressed(boxes, confidences, classes, nmsThreshold)
            classes, confidences, boxes = classes[order], confidences[order], boxes[order]
        return (classes, confidences, boxes) if len(boxes) else ((), (), ())

    def _suppressed(self, boxes: Ints, confidences: Floats, classes: Ints, threshold: float) -> npt.NDArray[np.int64]:
        """Rows that stay: class by class, the likeliest first."""
        groups = np.zeros_like(classes) if self._across else classes
        found = []
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            rows = rows[np.argsort(-confidences[rows], kind="stable")]
            corner = torch.from_numpy(boxes[rows].astype(np.float64))
            centred = torch.cat((corner[:, :2] + corner[:, 2:] / 2, corner[:, 2:]), dim=1)
            found.append(rows[nms_keep(centred, threshold, NMSOptions()).numpy()])
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    @torch.inference_mode()
    def _rows(self, frame: npt.NDArray[np.uint8]) -> list[tuple[Floats, Floats, Floats]]:
        """Boxes, objectness and probabilities of each head."""
        x = self._input(frame)
        size = (x.shape[3], x.shape[2])
        found = []
        for pair in decode_dense(self.network, self.network(x), size):
            boxes, scores = (part[0].float().cpu().numpy() for part in pair)
            found.append((boxes, scores.max(axis=1, keepdims=True), scores))
        return found

    def _input(self, frame: npt.NDArray[np.uint8]) -> Tensor:
        array: Any = np.asarray(frame)
        channels = self.network.shape.channels
        if array.ndim != 3 or array.shape[2] != channels or array.dtype != np.uint8 or not array.size:
            raise DataError(f"frame: expected [height, width, {channels}] of uint8, got {array.dtype} {array.shape}")
        if self._size is None:
            raise DataError("the input size is not set: call setInputParams(size=(width, height), ...) first")
        width, height = self._size
        planes = torch.from_numpy(_resize(array, width, height)).permute(2, 0, 1)[None].float()
        if self._swap:
            planes = planes.flip(1)
        x = (planes - planes.new_tensor(self._mean)[:channels].view(1, -1, 1, 1)) * self._scale
        first = next(self.network.parameters())
        return x.to(first.device, first.dtype)


def _resize(frame: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.int64]:
    """OpenCV's bilinear resize of bytes: pixels have their value in the middle, weights are 2048ths.

    A frame of exactly twice the size is averaged, which is what OpenCV does there.
    """
    pixels = frame.astype(np.int64)
    if frame.shape[:2] == (height, width):
        return pixels
    if frame.shape[:2] == (2 * height, 2 * width):
        fours: npt.NDArray[np.int64] = pixels.reshape(height, 2, width, 2, -1).sum(axis=(1, 3))
        return (fours + 2) >> 2
    left, right, a, b = _taps(frame.shape[1], width)
    upper, lower, p, q = _taps(frame.shape[0], height)
    rows = (pixels[:, left] * a[:, None] + pixels[:, right] * b[:, None]) >> 4
    sums = ((p[:, None, None] * rows[upper]) >> 16) + ((q[:, None, None] * rows[lower]) >> 16)
    out: npt.NDArray[np.int64] = (sums + 2) >> 2
    return out


def _taps(size: int, target: int) -> tuple[npt.NDArray[np.int64], ...]:
    """For each of ``target`` places: the source places on both sides and their weights."""
    at = ((np.arange(target) + 0.5) * (size / target) - 0.5).astype(np.float32)
    low = np.floor(at).astype(np.int64)
    share = np.where((low < 0) | (low >= size - 1), np.float32(0), at - low.astype(np.float32))
    low = low.clip(0, size - 1)
    weights = (np.rint(w * 2048).astype(np.int64) for w in (1 - share, share))
    return (low, np.minimum(low + 1, size - 1), *weights)


def _pixels(boxes: Floats, width: int, height: int) -> Ints:
    """Relative x y w h to left, top, width, height in pixels, cut as cv2 cuts them."""
    scaled = (boxes * np.array([width, height, width, height], np.float32)).astype(np.int32)
    limit = np.array([width, height], np.int32)
    corner = (scaled[:, :2] - scaled[:, 2:] // 2).clip(0, limit - 1)
    return np.concatenate((corner, np.minimum(scaled[:, 2:], limit - corner).clip(min=1)), axis=1)


def _load(model: StrPath, config: StrPath | None, device: str) -> Network:
    if config is None or not os.fspath(config):
        if is_container(model):
            return load(model, device=device)
        raise DataError(f"{os.fspath(model)}: expected a cfg and a .weights file")
    first, second = (model, config) if os.fspath(model).endswith(".cfg") else (config, model)
    return load(first, second, device=device)
