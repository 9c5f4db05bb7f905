"""Pixels of augmented images compared with OpenCV's and C Darknet's."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from darknet_py.augmentation import classification, colour, detection
from darknet_py.augmentation.colour import HSVShift

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "augmentation.npz")


def compare(actual: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Largest absolute difference and absolute mean difference."""
    difference = actual.astype(float) - expected
    return float(np.abs(difference).max()), float(abs(difference.mean()))


@pytest.mark.parametrize("name", ["up", "down", "far"])
def test_shift_hsv_equals_opencv(name: str) -> None:
    largest, mean = compare(
        colour.shift_hsv(GOLDEN["colours"], HSVShift(*GOLDEN[f"shift_{name}"])), GOLDEN[f"hsv_shifted_{name}"]
    )
    assert largest <= 1
    assert mean < 0.1


@pytest.mark.parametrize("size", [3, 5, 7, 9, 17])
def test_blur_equals_opencv(size: int) -> None:
    largest, mean = compare(colour.blur(GOLDEN["image"], size), GOLDEN[f"blurred_{size}"])
    assert largest <= 1
    assert mean < 0.1


@pytest.mark.parametrize("case", range(2))
def test_distort_equals_c(case: int) -> None:
    actual = colour.distort(GOLDEN["image"] / np.float32(255), HSVShift(*GOLDEN[f"distortion_{case}"]))
    assert compare(actual, GOLDEN[f"distorted_{case}"])[0] < 2e-6


@pytest.mark.parametrize("case", range(3))
def test_crop_square_equals_c(case: int) -> None:
    params = classification.CropParams(*GOLDEN[f"crop_params_{case}"])
    assert compare(classification.crop_square(GOLDEN["image"], params, 18), GOLDEN[f"crop_{case}"])[0] < 2e-5


def test_no_shift_changes_nothing() -> None:
    assert np.array_equal(colour.shift_hsv(GOLDEN["image"], colour.NO_SHIFT), GOLDEN["image"])
    assert np.allclose(
        colour.distort(GOLDEN["image"] / np.float32(255), colour.NO_SHIFT), GOLDEN["image"] / 255, atol=1e-6
    )


def test_the_hue_of_red_is_clamped_unless_it_wraps() -> None:
    red = np.full((2, 2, 3), (250, 10, 10), np.uint8)
    assert np.abs(colour.shift_hsv(red, HSVShift(hue=-0.1)).astype(int) - red).max() <= 1
    wrapped = colour.shift_hsv(red, HSVShift(hue=-0.1), wrap=True)[0, 0].astype(int)
    assert wrapped[2] > wrapped[1] + 100  # towards magenta


def test_noise_only_brightens_unless_signed() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    rng = np.random.default_rng(1)
    unsigned = colour.add_noise(grey, 20, rng).astype(float) - 128
    assert unsigned.min() == 0
    assert unsigned.mean() == pytest.approx(20 / np.sqrt(2 * np.pi), rel=0.02)
    signed = colour.add_noise(grey, 20, rng, signed=True).astype(float) - 128
    assert abs(signed.mean()) < 0.3
    assert signed.std() == pytest.approx(20, rel=0.02)


def is_blurred(blur: int, targets: np.ndarray, size: int = 160) -> tuple[bool, bool]:
    """Whether blur changes a checkerboard inside the first box, and outside all boxes."""
    board = np.indices((size, size)).sum(axis=0) % 2 * 255
    image = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)
    params = detection.SampledParams((0.5,) * 4, (0.5, 0.5), False, colour.NO_SHIFT, blur, 0)
    sample = detection.augment_image(
        detection.RESIZE_ONLY, (size, size), image, targets, params, np.random.default_rng(0)
    )
    changed = (sample.image != image).any(axis=2)
    return bool(changed[size // 2, size // 2]), bool(changed[5, 5])


def test_blur_is_limited_by_the_smallest_object() -> None:
    large = np.array([(0.5, 0.5, 0.5, 0.5, 0)], np.float32)  # 80 pixels: a kernel of up to 10
    small = large * np.array((1, 1, 0.2, 0.2, 1), np.float32)  # 16: 2, that is a kernel of 3
    tiny = large * np.array((1, 1, 0.11, 0.11, 1), np.float32)  # 8.8: 1, that is the background only
    speck = large * np.array((1, 1, 0.05, 0.05, 1), np.float32)  # 4: 0, no blur
    assert is_blurred(9, large) == (True, True)
    assert is_blurred(9, small) == (True, True)
    assert is_blurred(9, tiny) == (False, True)
    assert is_blurred(9, speck) == (False, False)
    assert is_blurred(1, large) == (False, True)
    assert is_blurred(9, large[:0]) == (False, False)
