"""The part of an image that becomes the network's input in training, and where its objects are in there.

A ``Window`` is cut out of the image and scaled to the input; where it reaches beyond the edge there is
the image's mean colour. Scaling is bilinear between the centres of pixels, as OpenCV does it in training,
and not ``images.resize``, which is what Darknet does afterwards.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from ..data.labels import Truths
from ..images.reading import ImageArray

Size = tuple[int, int]  # width, height


class Window(NamedTuple):
    """What is cut off an image at every side, in its pixels; a negative margin is added.

    ``width``, ``height``: of the image.
    """

    left: int
    right: int
    top: int
    bottom: int
    width: int
    height: int

    @property
    def size(self) -> Size:
        """Width and height of the part."""
        return self.width - self.left - self.right, self.height - self.top - self.bottom

    @property
    def hollow(self) -> bool:
        """Whether nothing is left of the image."""
        return min(*self.size, self.width - self.left, self.height - self.top) <= 0

    def mirrored(self) -> Window:
        """The window of the mirrored image."""
        return self._replace(left=self.right, right=self.left)

    def pushed(self, quadrant: int, flip: bool) -> Window:
        """Slide the window so that it begins in the corner of the image that ``quadrant`` of a mosaic shows.

        ``quadrant``: 0 top left, 1 top right, 2 bottom left, 3 bottom right. ``flip``: it will be mirrored.
        """
        across, down = self.left + self.right, self.top + self.bottom
        left, right = (0, across) if (quadrant % 2 == 1) == flip else (across, 0)
        top, bottom = (0, down) if quadrant < 2 else (down, 0)
        return self._replace(left=left, right=right, top=top, bottom=bottom)

    def letterboxed(self, size: Size) -> Window:
        """Widen the window so that the whole image would have the aspect of ``size``."""
        aspect = size[0] / size[1]
        if self.width / self.height > aspect:
            more = (self.width / aspect - self.height) / 2
            return self._replace(top=int(self.top - more), bottom=int(self.bottom - more))
        more = (self.height * aspect - self.width) / 2
        return self._replace(left=int(self.left - more), right=int(self.right - more))


def cut(image: ImageArray, window: Window, size: Size) -> ImageArray:
    """The window of an image, scaled to ``size``."""
    width, height = window.size
    if window[:4] != (0, 0, 0, 0):
        x, y = max(0, window.left), max(0, window.top)
        part = image[y : max(0, window.top + height), x : max(0, window.left + width)]
        if part.shape[:2] != (height, width):
            canvas = np.empty((height, width, image.shape[2]), np.uint8)
            canvas[:] = _mean(image)
            canvas[y - window.top :, x - window.left :][: part.shape[0], : part.shape[1]] = part
            part = canvas
        image = part
    return scaled(image, size)


def _mean(image: ImageArray) -> ImageArray:
    colour = image.sum(axis=0, dtype=np.uint32).sum(axis=0) / (image.shape[0] * image.shape[1])
    rounded: ImageArray = np.rint(colour).astype(np.uint8)
    return rounded


def scaled(image: ImageArray, size: Size) -> ImageArray:
    """An image in ``size``, bilinear between the centres of pixels (cv::resize, within one level)."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    out = torch.nn.functional.interpolate(planes, size=(size[1], size[0]), mode="bilinear", align_corners=False)
    return np.ascontiguousarray(out[0].permute(1, 2, 0).numpy())


def shuffled(targets: Truths, limit: int, rng: np.random.Generator) -> Truths:
    """At most ``limit`` objects in the order that Darknet's shuffle leaves them in (``randomize_boxes``)."""
    order = np.arange(len(targets))
    for i, other in enumerate(rng.integers(len(targets), size=len(targets)) if len(targets) else ()):
        order[[i, other]] = order[[other, i]]
    return targets[order[:limit]]


def mapped(targets: Truths, window: Window, size: Size, flip: bool) -> Truths:
    """The objects as the window shows them, relative to it (``correct_boxes``, ``fill_truth_detection``).

    Left out are what has its centre at 0 0, what lies outside the image, and what is smaller than a pixel
    of the input, ``size``; a sliver of an object stays.
    """
    centre, half = targets[:, :2].astype(np.float64), targets[:, 2:4].astype(np.float64) / 2
    odd = (centre == 0).all(axis=1) | (centre + half < 0).any(axis=1) | (centre - half > 1).any(axis=1)
    whole, origin = np.array((window.width, window.height)), np.array((window.left, window.top))
    low, high = (((edge * whole - origin) / window.size) for edge in (centre - half, centre + half))
    if flip:
        low[:, 0], high[:, 0] = 1 - high[:, 0], 1 - low[:, 0].copy()
    low, high = low.clip(0, 1), high.clip(0, 1)
    seen = ~odd & (high - low >= 1 / np.array(size)).all(axis=1)
    rows: Truths = np.concatenate(((low + high) / 2, high - low, targets[:, 4:]), axis=1)[seen].astype(np.float32)
    return rows


def shortest(targets: Truths, size: Size) -> int:
    """The shortest side of an object in whole pixels of the input; 0 where there is none."""
    return int((targets[:, 2:4] * size).min()) if len(targets) else 0
