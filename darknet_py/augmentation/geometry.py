"""Geometric augmentation for detectors: crop a window of the image, resize it to the input, and transform its boxes.

Outside the image, a window is filled with the image's mean colour. The resizing is OpenCV's, which Darknet uses in
training; ``images.resizing`` has Darknet's own, which it uses for inference. Boxes are computed in float32, as in C.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..data.labels import TargetArray
from ..images.reading import ImageArray
from .opencv_resize import resize

Size = tuple[int, int]  # width, height
_NO_BOX = 999999  # each value of the box of a target that has only a class (``correct_boxes``)


class CropWindow(NamedTuple):
    """A window of an image, in pixels.

    Attributes:
        left: pixels cropped at the left edge; negative: padding. Likewise ``right``, ``top``, ``bottom``.
        width: width of the image.
        height: height of the image.
    """

    left: int
    right: int
    top: int
    bottom: int
    width: int
    height: int

    @property
    def size(self) -> Size:
        """Width and height of the window."""
        return self.width - self.left - self.right, self.height - self.top - self.bottom

    @property
    def is_empty(self) -> bool:
        """Whether the window contains no part of the image."""
        return min(*self.size, self.width - self.left, self.height - self.top) <= 0

    def flip(self) -> CropWindow:
        """Return the window in the horizontally flipped image."""
        return self._replace(left=self.right, right=self.left)

    def align_to_tile(self, tile: int, flip: bool) -> CropWindow:
        """Move the window so that the part that a mosaic shows starts at a corner of the image.

        Args:
            tile: 0 top left, 1 top right, 2 bottom left, 3 bottom right.
            flip: whether the window will be flipped.
        """
        horizontal, vertical = self.left + self.right, self.top + self.bottom
        left, right = (0, horizontal) if (tile % 2 == 1) == flip else (horizontal, 0)
        top, bottom = (0, vertical) if tile < 2 else (vertical, 0)
        return self._replace(left=left, right=right, top=top, bottom=bottom)

    def letterbox(self, size: Size) -> CropWindow:
        """Widen the window so that a window of the whole image gets the aspect ratio of ``size``."""
        width, height = np.float32(self.width), np.float32(self.height)
        aspect = np.float32(size[0]) / np.float32(size[1])
        if width / height / aspect > 1:
            padding = (width / aspect - height) / 2
            return self._replace(top=int(self.top - padding), bottom=int(self.bottom - padding))
        padding = (height * aspect - width) / 2
        return self._replace(left=int(self.left - padding), right=int(self.right - padding))


def crop(image: ImageArray, window: CropWindow, size: Size) -> ImageArray:
    """Crop a window and resize it.

    Args:
        image: uint8 [H, W, channels].
        window: the window; what is outside the image gets the image's mean colour.
        size: width and height of the result.

    Returns:
        uint8 [height, width, channels].
    """
    width, height = window.size
    if window[:4] != (0, 0, 0, 0):
        x, y = max(0, window.left), max(0, window.top)
        part = image[y : max(0, window.top + height), x : max(0, window.left + width)]
        if part.shape[:2] != (height, width):
            canvas = np.empty((height, width, image.shape[2]), np.uint8)
            canvas[:] = _mean_colour(image)
            canvas[y - window.top :, x - window.left :][: part.shape[0], : part.shape[1]] = part
            part = canvas
        image = part
    return resize(image, size)


def _mean_colour(image: ImageArray) -> ImageArray:
    colour = image.sum(axis=0, dtype=np.uint32).sum(axis=0) / (image.shape[0] * image.shape[1])
    rounded: ImageArray = np.rint(colour).astype(np.uint8)
    return rounded


def shuffle(targets: TargetArray, limit: int, rng: np.random.Generator) -> TargetArray:
    """Shuffle targets, float32 [n, 5 or more], as ``randomize_boxes`` does, and return the first ``limit``."""
    order = np.arange(len(targets))
    for i, other in enumerate(rng.integers(len(targets), size=len(targets)) if len(targets) else ()):
        order[[i, other]] = order[[other, i]]
    return targets[order[:limit]]


def transform_boxes(
    targets: TargetArray, window: CropWindow, size: Size, flip: bool, *, class_only: bool = False
) -> TargetArray:
    """Transform targets to a window, as ``correct_boxes`` and ``fill_truth_detection`` do.

    Targets are dropped if their centre is (0, 0), unless ``class_only`` keeps them, if they are outside the image, or
    if a side is less than a pixel of the input. A truncated object is kept, however small its visible part is.

    Args:
        targets: float32 [n, 5 or more], (cx, cy, w, h) relative to the image, class, ...
        window: the window, not flipped.
        size: width and height of the input.
        flip: whether the window is flipped horizontally.
        class_only: keep targets whose centre is (0, 0), with 999999 for each value of the box.

    Returns:
        float32 [m, 5 or more], boxes relative to the window and clipped to it.
    """
    centre, half = targets[:, :2], targets[:, 2:4] / 2
    invalid = (centre == 0).all(axis=1) | (centre + half < 0).any(axis=1) | (centre - half > 1).any(axis=1)
    image_size = np.array((window.width, window.height), np.float32)
    share = np.array(window.size, np.float32) / image_size
    scale = (1 / share.astype(np.float64)).astype(np.float32)
    origin = np.array((window.left, window.top), np.float32) / image_size / share
    low, high = (edge * scale - origin for edge in (centre - half, centre + half))
    if flip:
        low[:, 0], high[:, 0] = 1 - high[:, 0], 1 - low[:, 0].copy()
    low, high = low.clip(0, 1), high.clip(0, 1)
    kept = ~invalid & (high - low >= 1 / np.array(size, np.float32)).all(axis=1)
    boxes = np.concatenate(((low + high) / 2, high - low), axis=1)
    if class_only:
        is_class_only = (centre == 0).all(axis=1)
        boxes[is_class_only] = _NO_BOX
        kept |= is_class_only
    result: TargetArray = np.concatenate((boxes, targets[:, 4:]), axis=1)[kept]
    return result


def shortest_side(targets: TargetArray, size: Size) -> int:
    """Return the shortest side of the boxes of targets [n, 5 or more], in whole pixels of an input; 0 if n is 0."""
    return int((targets[:, 2:4] * np.array(size, np.float32)).min()) if len(targets) else 0
