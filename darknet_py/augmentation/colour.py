"""Colour augmentation: hue, saturation and exposure, blur, noise.

Images are arrays [height, width, channels]. Detectors are trained on uint8, with OpenCV's arithmetic, classifiers on
float32 in 0..1. Only images of three channels have a hue and a saturation; others are multiplied by the exposure.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..images.reading import ImageArray

FloatImage = npt.NDArray[np.float32]

_HUE_RANGE = 180  # OpenCV's hue is in steps of 2 degrees
_DIVISORS = np.maximum(np.arange(256), 1)
_SATURATION_TABLE = np.rint((255 << 12) / _DIVISORS).astype(np.int32)
_HUE_TABLE = np.rint((_HUE_RANGE << 12) / (6 * _DIVISORS)).astype(np.int32)
# OpenCV's kernels if only the size is given; for larger ones see ``_gaussian_kernel``.
_SMALL_KERNELS = {1: (1.0,), 3: (0.25, 0.5, 0.25), 5: (0.0625, 0.25, 0.375, 0.25, 0.0625)}
_SMALL_KERNELS[7] = (0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125)
_BILATERAL_SIGMA = 75  # in pixels, and in levels summed over the channels; that of the call that C leaves out
_MAX_NOISE = 127  # levels, of the standard deviation


class HSVShift(NamedTuple):
    """A change of colour: ``hue``, in turns, is added; ``saturation`` and ``exposure`` are factors."""

    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0


NO_SHIFT = HSVShift()


def sample_scale(limit: float, rng: np.random.Generator) -> float:
    """Sample a factor uniformly from 1 to ``limit`` or, with probability 1/2, the inverse of one (``rand_scale``)."""
    factor = 1 + (limit - 1) * rng.random()
    return factor if rng.integers(2) else 1 / factor


def sample_shift(hue: float, saturation: float, exposure: float, rng: np.random.Generator) -> HSVShift:
    """Sample a change of colour, with the meaning that ``hue=``, ``saturation=`` and ``exposure=`` have in [net]."""
    turns = rng.uniform(-hue, hue)
    return HSVShift(turns, sample_scale(saturation, rng), sample_scale(exposure, rng))


def shift_hsv(image: ImageArray, shift: HSVShift, *, wrap: bool = False) -> ImageArray:
    """Change the colours of a uint8 image as ``image_data_augmentation`` does (cv::cvtColor, within one level).

    Args:
        image: uint8 [height, width, channels].
        shift: the change.
        wrap: wrap a hue around below 0; Darknet clamps it to 0, so that reds do not change.

    Returns:
        uint8 [height, width, channels].
    """
    if shift == NO_SHIFT:
        return image
    if image.shape[2] != 3:
        return _to_uint8(image * np.float32(shift.exposure))
    hue, saturation, value = _to_hsv(image)
    shifted = np.rint(np.arange(256) + 179 * shift.hue)
    hues = shifted % _HUE_RANGE if wrap else np.clip(shifted, 0, 255) % _HUE_RANGE
    saturations = np.clip(np.rint(np.arange(256) * np.float32(shift.saturation)), 0, 255) / 255
    values = np.clip(np.rint(np.arange(256) * np.float32(shift.exposure)), 0, 255).astype(np.float32)
    v = values[value]
    chroma = saturations.astype(np.float32)[saturation] * v
    out = np.empty_like(image)
    for channel in range(3):
        weights = _chroma_weight(hues.astype(np.float32) * (6 / _HUE_RANGE), channel)
        out[:, :, channel] = v - chroma * weights[hue]  # truncated to uint8, as in OpenCV
    return out


def _to_hsv(image: ImageArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], ImageArray]:
    """Hue 0..179, saturation and value 0..255, each [height, width], with OpenCV's integer arithmetic."""
    r, g, b = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.int32)
    value = np.maximum(np.maximum(r, g), b)
    chroma = value - np.minimum(np.minimum(r, g), b)
    sixth = np.where(value == r, g - b, np.where(value == g, b - r + 2 * chroma, r - g + 4 * chroma))
    hue = (sixth * _HUE_TABLE[chroma] + 2048) >> 12
    hue[hue < 0] += _HUE_RANGE
    return hue, (chroma * _SATURATION_TABLE[value] + 2048) >> 12, value.astype(np.uint8)


def _chroma_weight(sixths: FloatImage, channel: int) -> FloatImage:
    """The share of the chroma that is subtracted from a channel at a hue in sixths of a turn, 0..1."""
    k = (sixths + (5, 3, 1)[channel]) % 6
    weight: FloatImage = np.clip(np.minimum(k, 4 - k), 0, 1)
    return weight


def distort(image: FloatImage, shift: HSVShift) -> FloatImage:
    """Change the colours of a float image as ``distort_image`` does.

    Args:
        image: float32 [height, width, channels], 0..1.
        shift: the change; the hue wraps around.

    Returns:
        float32 [height, width, channels], clipped to 0..1.
    """
    if image.shape[2] != 3:
        exposed: FloatImage = np.clip(image * np.float32(shift.exposure), 0, 1)
        return exposed
    r, g, b = np.ascontiguousarray(image.transpose(2, 0, 1))
    value = np.maximum(np.maximum(r, g), b)
    chroma = value - np.minimum(np.minimum(r, g), b)
    divisor = np.where(chroma > 0, chroma, 1)
    sixth = np.where(value == r, (g - b) / divisor, np.where(value == g, 2 + (b - r) / divisor, 4 + (r - g) / divisor))
    sixth = (sixth + np.float32(6 * shift.hue)) % 6
    # chroma = value * saturation, so both factors apply to it.
    chroma = chroma * np.float32(shift.saturation * shift.exposure)
    value *= np.float32(shift.exposure)
    planes = [value - chroma * _chroma_weight(sixth, channel) for channel in range(3)]
    out: FloatImage = np.clip(np.stack(planes, axis=-1), 0, 1)
    return out


def blur(image: ImageArray, size: int) -> ImageArray:
    """Blur an image, uint8 [height, width, channels], as cv::GaussianBlur does.

    Args:
        image: the image.
        size: size of the kernel in pixels, odd; sigma is OpenCV's default for it.

    Returns:
        uint8 [height, width, channels].
    """
    return _to_uint8(gaussian_filter(image, size))


def gaussian_filter(image: npt.NDArray[np.generic], size: int) -> FloatImage:
    """``blur`` without rounding: float32 [height, width, channels] for values of any range."""
    kernel = _gaussian_kernel(size)
    radius = size // 2
    out = image.astype(np.float32)
    for axis in (0, 1):
        padded = np.pad(out, [(radius, radius) if a == axis else (0, 0) for a in range(3)], mode="reflect")
        shifted = (padded[i : i + out.shape[0]] if axis == 0 else padded[:, i : i + out.shape[1]] for i in range(size))
        total = np.zeros_like(out)
        for weight, part in zip(kernel, shifted, strict=True):
            total += weight * part
        out = total
    return out


def _gaussian_kernel(size: int) -> FloatImage:
    if size in _SMALL_KERNELS:
        return np.array(_SMALL_KERNELS[size], np.float32)
    sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    weights = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    kernel: FloatImage = (weights / weights.sum()).astype(np.float32)
    return kernel


def bilateral_filter(image: npt.NDArray[np.generic], size: int) -> FloatImage:
    """Blur an image but for its edges, as cv::bilateralFilter does with both sigmas 75 (not Darknet's).

    Args:
        image: [height, width, channels], in levels 0..255.
        size: diameter of the neighbourhood in pixels.

    Returns:
        float32 [height, width, channels].
    """
    radius = size // 2
    source = image.astype(np.float32)
    height, width, _ = source.shape
    padded = np.pad(source, ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    total, weights = np.zeros_like(source), np.zeros((height, width, 1), np.float32)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dx**2 + dy**2 <= radius**2:
                part = padded[radius + dy : radius + dy + height, radius + dx : radius + dx + width]
                difference = np.abs(part - source).sum(axis=2, keepdims=True)
                weight = np.exp((difference**2 + (dx**2 + dy**2)) * np.float32(-0.5 / _BILATERAL_SIGMA**2))
                total += weight * part
                weights += weight
    total /= weights
    return total


def add_noise(image: ImageArray, deviation: int, rng: np.random.Generator, *, signed: bool = False) -> ImageArray:
    """Add Gaussian noise to an image.

    Args:
        image: uint8 [height, width, channels].
        deviation: standard deviation in levels, at most 127.
        rng: random number generator.
        signed: add noise of both signs; Darknet's is unsigned, so that it only brightens.

    Returns:
        uint8 [height, width, channels].
    """
    noise = np.rint(rng.standard_normal(image.shape, np.float32) * min(deviation, _MAX_NOISE))
    return _to_uint8(image + (noise if signed else np.maximum(noise, 0)))


def _to_uint8(values: npt.NDArray[Any]) -> ImageArray:
    """Round and clip to 0..255."""
    rounded: ImageArray = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded
