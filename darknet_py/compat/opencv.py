"""``DetectionModel`` and ``readNetFromDarknet`` with the interface of cv2.dnn, which OpenCV 5 no longer has.

Calls take the same arguments and return arrays of the same shapes and dtypes; OpenCV itself is not needed. Frames are
uint8 [height, width, 3] in BGR order, as ``cv2.imread`` and ``VideoCapture`` return them. Where OpenCV differs from
Darknet, this follows OpenCV: resizing, one class per box, boxes in whole pixels that start inside the frame. For
Darknet's own boxes use ``Detector``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .._typing import StrPath
from ..boxes import NMSOptions, nms_keep
from ..devices import find_device
from ..errors import DataError
from ..loading import load
from ..network import Network, evaluating, unwrap
from ..postprocess import decode_dense, require_heads
from ..weights import warn_of_random_weights
from ..weights.containers import is_container

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
DetectResult = tuple[Ints, Floats, Ints] | tuple[tuple[()], tuple[()], tuple[()]]  # classes, confidences, boxes


def readNetFromDarknet(cfgFile: StrPath, darknetModel: StrPath | None = None) -> Network:
    """Load a cfg and a .weights file for ``DetectionModel``."""
    return load(cfgFile, darknetModel)


class DetectionModel:
    """cv2.dnn.DetectionModel for Darknet's networks.

    Args:
        model: a .weights file or a cfg, a checkpoint (.pt, .safetensors), or a Network.
        config: the other of cfg and .weights file; the order does not matter, as in cv2.
        device: device of the network.

    Raises:
        DataError: the network has no detection head.
    """

    def __init__(self, model: StrPath | nn.Module, config: StrPath | None = None, *, device: str = "cpu") -> None:
        if isinstance(model, nn.Module):
            self.network = unwrap(model).to(find_device(device))
        else:
            self.network = _load(model, config, device)
        require_heads(self.network)
        warn_of_random_weights(self.network)
        self._size: tuple[int, int] | None = None
        self._scale = 1.0
        self._mean = (0.0, 0.0, 0.0)
        self._swap = False
        self._nms_across_classes = False

    def setInputParams(
        self,
        scale: float = 1.0,
        size: tuple[int, int] | None = None,
        mean: float | Sequence[float] = (0, 0, 0),
        swapRB: bool = False,
        crop: bool = False,
    ) -> None:
        """Set the preprocessing: ``(resized frame - mean) * scale``; Darknet's networks need 1/255 and swapRB."""
        self.setInputScale(scale).setInputMean(mean).setInputSwapRB(swapRB).setInputCrop(crop)
        if size is not None:
            self.setInputSize(size)

    def setInputSize(self, width: int | Sequence[int], height: int | None = None) -> DetectionModel:
        """Set width and height of the input in pixels, as two numbers or one pair."""
        pair = (width, height) if isinstance(width, int) else tuple(width)
        if len(pair) != 2 or not all(isinstance(n, int | np.integer) and n > 0 for n in pair):
            raise DataError(f"size: expected width and height in pixels, got {pair}")
        self._size = (int(pair[0]), int(pair[1] or 0))
        return self

    def setInputScale(self, scale: float) -> DetectionModel:
        """Set the factor that is applied after the mean is subtracted."""
        self._scale = float(np.ravel(scale)[0])
        return self

    def setInputMean(self, mean: float | Sequence[float]) -> DetectionModel:
        """Set the mean to subtract from values in 0..255, per channel; one number: the first channel's, as in cv2."""
        values = [float(value) for value in np.ravel(mean)][:3]
        self._mean = (*values, *[0.0] * (3 - len(values)))  # type: ignore[assignment]
        return self

    def setInputSwapRB(self, swapRB: bool) -> DetectionModel:
        """Set whether to swap red and blue: True for BGR frames, as the networks are trained on RGB."""
        self._swap = bool(swapRB)
        return self

    def setInputCrop(self, crop: bool) -> DetectionModel:
        """Accept False only: with a crop, boxes would be relative to the crop, as in cv2."""
        if crop:
            raise DataError("crop=True: boxes would be relative to the crop: expected False (crop the frame before)")
        return self

    def setNmsAcrossClasses(self, value: bool) -> DetectionModel:
        """Set whether NMS compares boxes of different classes."""
        self._nms_across_classes = bool(value)
        return self

    def getNmsAcrossClasses(self) -> bool:
        """Whether NMS compares boxes of different classes."""
        return self._nms_across_classes

    def setPreferableBackend(self, backendId: int) -> DetectionModel:
        """Do nothing: PyTorch computes; the device is an argument of the constructor."""
        return self

    setPreferableTarget = enableWinograd = setOutputNames = setPreferableBackend

    def predict(self, frame: npt.NDArray[np.uint8]) -> tuple[Floats, ...]:
        """Compute the boxes of a frame before thresholding and NMS.

        Args:
            frame: uint8 [height, width, channels].

        Returns:
            Float32 [n, 5 + classes] of each head, (cx, cy, w, h) relative to the frame, the largest probability (where
            cv2 has the objectness), and the class probabilities.
        """
        return tuple(np.concatenate(parts, axis=1) for parts in self._rows(frame))

    def detect(
        self,
        frame: npt.NDArray[np.uint8],
        confThreshold: float = 0.5,
        nmsThreshold: float = 0.0,
    ) -> DetectResult:
        """Detect objects in a frame.

        Args:
            frame: uint8 [height, width, channels].
            confThreshold: minimum probability of a box's most probable class, 0..1.
            nmsThreshold: IoU threshold of NMS, 0..1; 0 disables it.

        Returns:
            Class numbers int32 [n], confidences float32 [n], and boxes int32 [n, 4], (left, top, width, height) in
            pixels of the frame; three empty tuples without detections, as in cv2.
        """
        rows = [np.concatenate(parts, axis=1) for parts in self._rows(frame)]
        table = np.concatenate(rows)
        confidences, classes = table[:, 5:].max(axis=1), table[:, 5:].argmax(axis=1).astype(np.int32)
        kept = np.flatnonzero(confidences >= np.float32(confThreshold))
        boxes = _pixels(table[kept, :4], frame.shape[1], frame.shape[0])
        classes, confidences = classes[kept], confidences[kept]
        if nmsThreshold:
            order = self._nms(boxes, confidences, classes, nmsThreshold)
            classes, confidences, boxes = classes[order], confidences[order], boxes[order]
        return (classes, confidences, boxes) if len(boxes) else ((), (), ())

    def _nms(self, boxes: Ints, confidences: Floats, classes: Ints, threshold: float) -> npt.NDArray[np.int64]:
        """Rows that NMS keeps: class by class, the most confident first."""
        groups = np.zeros_like(classes) if self._nms_across_classes else classes
        kept = []
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            rows = rows[np.argsort(-confidences[rows], kind="stable")]
            ltwh = torch.from_numpy(boxes[rows].astype(np.float64))
            xywh = torch.cat((ltwh[:, :2] + ltwh[:, 2:] / 2, ltwh[:, 2:]), dim=1)
            kept.append(rows[nms_keep(xywh, threshold, NMSOptions()).numpy()])
        return np.concatenate(kept) if kept else np.zeros(0, np.int64)

    @torch.inference_mode()
    def _rows(self, frame: npt.NDArray[np.uint8]) -> list[tuple[Floats, Floats, Floats]]:
        """Boxes, largest probability and class probabilities of each head."""
        x = self._preprocess(frame)
        size = (x.shape[3], x.shape[2])
        rows = []
        with evaluating(self.network):
            for pair in decode_dense(self.network, self.network.predict(x), size):
                boxes, scores = (part[0].float().cpu().numpy() for part in pair)
                rows.append((boxes, scores.max(axis=1, keepdims=True), scores))
        return rows

    def _preprocess(self, frame: npt.NDArray[np.uint8]) -> Tensor:
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
        return (planes - planes.new_tensor(self._mean)[:channels].view(1, -1, 1, 1)) * self._scale


def _resize(frame: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.int64]:
    """Resize uint8 bilinearly like OpenCV: pixel centres are aligned, weights are multiples of 1/2048.

    A frame of exactly twice the size is averaged over 2 x 2 pixels, as in OpenCV.
    """
    pixels = frame.astype(np.int64)
    if frame.shape[:2] == (height, width):
        return pixels
    if frame.shape[:2] == (2 * height, 2 * width):
        sums_of_four: npt.NDArray[np.int64] = pixels.reshape(height, 2, width, 2, -1).sum(axis=(1, 3))
        return (sums_of_four + 2) >> 2
    left, right, a, b = _taps(frame.shape[1], width)
    upper, lower, p, q = _taps(frame.shape[0], height)
    rows = (pixels[:, left] * a[:, None] + pixels[:, right] * b[:, None]) >> 4
    sums = ((p[:, None, None] * rows[upper]) >> 16) + ((q[:, None, None] * rows[lower]) >> 16)
    out: npt.NDArray[np.int64] = (sums + 2) >> 2
    return out


def _taps(size: int, target: int) -> tuple[npt.NDArray[np.int64], ...]:
    """For each of ``target`` pixels: the two neighbouring source pixels and their weights."""
    position = ((np.arange(target) + 0.5) * (size / target) - 0.5).astype(np.float32)
    low = np.floor(position).astype(np.int64)
    weight = np.where((low < 0) | (low >= size - 1), np.float32(0), position - low.astype(np.float32))
    low = low.clip(0, size - 1)
    weights = (np.rint(w * 2048).astype(np.int64) for w in (1 - weight, weight))
    return (low, np.minimum(low + 1, size - 1), *weights)


def _pixels(boxes: Floats, width: int, height: int) -> Ints:
    """Convert relative (cx, cy, w, h) to (left, top, width, height) in pixels, truncated and clipped as in cv2."""
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
