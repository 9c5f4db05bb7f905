"""What augmentation does to colours: hue, saturation and exposure, blur, noise.

Images are arrays [height, width, channels]. Detectors are trained on 8 bits, in OpenCV's arithmetic,
classifiers on floats in 0..1. Only three channels are taken for colours: others know no hue, and their
values are scaled by the exposure.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..images.reading import ImageArray

Floats = npt.NDArray[np.float32]

_HALF_TURN = 180  # OpenCV's hue is in steps of 2 degrees
_DIVISORS = np.maximum(np.arange(256), 1)
_SATURATIONS = np.rint((255 << 12) / _DIVISORS).astype(np.int32)
_HUES = np.rint((_HALF_TURN << 12) / (6 * _DIVISORS)).astype(np.int32)
# OpenCV's own kernels where the size alone is given; for larger ones see ``_kernel``.
_SMALL = {1: (1.0,), 3: (0.25, 0.5, 0.25), 5: (0.0625, 0.25, 0.375, 0.25, 0.0625)}
_SMALL[7] = (0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125)


class Shift(NamedTuple):
    """A change of colours: ``hue`` in turns is added, ``saturation`` and ``exposure`` are factors."""

    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0


NEUTRAL = Shift()


def shifted(image: ImageArray, shift: Shift, *, wrap: bool = False) -> ImageArray:
    """Change colours of 8 bits as ``image_data_augmentation`` does (cvtColor of OpenCV, within one level).

    A hue that would fall below 0 stays at 0 there, so that reds do not turn; ``wrap`` turns them.
    """
    if shift == NEUTRAL:
        return image
    if image.shape[2] != 3:
        return _byte(image * np.float32(shift.exposure))
    hue, saturation, value = _to_hsv(image)
    turned = np.rint(np.arange(256) + 179 * shift.hue)
    hues = turned % _HALF_TURN if wrap else np.clip(turned, 0, 255) % _HALF_TURN
    saturations = np.clip(np.rint(np.arange(256) * np.float32(shift.saturation)), 0, 255) / 255
    values = np.clip(np.rint(np.arange(256) * np.float32(shift.exposure)), 0, 255).astype(np.float32)
    v = values[value]
    chroma = saturations.astype(np.float32)[saturation] * v
    out = np.empty_like(image)
    for channel in range(3):
        shares = _share(hues.astype(np.float32) * (6 / _HALF_TURN), channel)
        out[:, :, channel] = v - chroma * shares[hue]  # OpenCV cuts off what is behind the point here, too
    return out


def _to_hsv(image: ImageArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], ImageArray]:
    """Hue 0..179, saturation and value 0..255."""
    r, g, b = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.int32)
    value = np.maximum(np.maximum(r, g), b)
    range_ = value - np.minimum(np.minimum(r, g), b)
    sixth = np.where(value == r, g - b, np.where(value == g, b - r + 2 * range_, r - g + 4 * range_))
    hue = (sixth * _HUES[range_] + 2048) >> 12
    hue[hue < 0] += _HALF_TURN
    return hue, (range_ * _SATURATIONS[value] + 2048) >> 12, value.astype(np.uint8)


def _share(sixths: Floats, channel: int) -> Floats:
    """How much of the saturation a channel loses at a hue in sixths of a turn: 0 none .. 1 all."""
    k = (sixths + (5, 3, 1)[channel]) % 6
    share: Floats = np.clip(np.minimum(k, 4 - k), 0, 1)
    return share


def distorted(image: Floats, shift: Shift) -> Floats:
    """Change colours in 0..1 as ``distort_image`` does: hue goes round, the result is cut to 0..1."""
    if image.shape[2] != 3:
        scaled: Floats = np.clip(image * np.float32(shift.exposure), 0, 1)
        return scaled
    r, g, b = np.ascontiguousarray(image.transpose(2, 0, 1))
    value = np.maximum(np.maximum(r, g), b)
    range_ = value - np.minimum(np.minimum(r, g), b)
    divisor = np.where(range_ > 0, range_, 1)
    sixth = np.where(value == r, (g - b) / divisor, np.where(value == g, 2 + (b - r) / divisor, 4 + (r - g) / divisor))
    sixth = (sixth + np.float32(6 * shift.hue)) % 6
    # Value times saturation is the range: both factors meet there.
    chroma = range_ * np.float32(shift.saturation * shift.exposure)
    value *= np.float32(shift.exposure)
    planes = [value - chroma * _share(sixth, channel) for channel in range(3)]
    out: Floats = np.clip(np.stack(planes, axis=-1), 0, 1)
    return out


def blurred(image: ImageArray, size: int) -> ImageArray:
    """Gaussian blur with a window of ``size`` pixels (odd), as cv::GaussianBlur with its own sigma."""
    return _byte(smoothed(image, size))


def smoothed(image: npt.NDArray[np.generic], size: int) -> Floats:
    """``blurred`` without rounding, for values of any range."""
    kernel = _kernel(size)
    reach = size // 2
    out = image.astype(np.float32)
    for axis in (0, 1):
        wide = np.pad(out, [(reach, reach) if a == axis else (0, 0) for a in range(3)], mode="reflect")
        parts = (wide[i : i + out.shape[0]] if axis == 0 else wide[:, i : i + out.shape[1]] for i in range(size))
        total = np.zeros_like(out)
        for weight, part in zip(kernel, parts, strict=True):
            total += weight * part
        out = total
    return out


def _kernel(size: int) -> Floats:
    if size in _SMALL:
        return np.array(_SMALL[size], np.float32)
    sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    weights = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    kernel: Floats = (weights / weights.sum()).astype(np.float32)
    return kernel


def noisy(image: ImageArray, deviation: int, rng: np.random.Generator, *, signed: bool = False) -> ImageArray:
    """Add Gaussian noise, of at most 127 levels. Darknet's is unsigned, so that it only brightens."""
    noise = np.rint(rng.standard_normal(image.shape, np.float32) * min(deviation, 127))
    return _byte(image + (noise if signed else np.maximum(noise, 0)))


def _byte(values: npt.NDArray[Any]) -> ImageArray:
    """Round to 8 bits; what is outside goes to the edge."""
    rounded: ImageArray = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded
