"""``opencv_resize.resize`` equals cv::resize bit for bit."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from darknet_py.augmentation.opencv_resize import resize

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "augmentation.npz")


@pytest.mark.parametrize("size", [(16, 16), (50, 41), (33, 12)])
def test_golden_images(size: tuple[int, int]) -> None:
    assert np.array_equal(resize(GOLDEN["image"], size), GOLDEN[f"resized_{size[0]}x{size[1]}"])


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_size(channels: int) -> None:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
    rng = np.random.default_rng(1)
    for case in range(200):
        width, height, *sides = (int(n) for n in rng.integers(1, 90, 4))
        if case % 4 == 0:
            sides = [2 * width, 2 * height]  # the mean of 2 x 2 pixels
        elif case % 4 == 1:
            sides[0] = 2 * width
        image = rng.integers(0, 256, (sides[1], sides[0], channels), dtype=np.uint8)
        expected = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        assert np.array_equal(resize(image, (width, height)), expected.reshape(height, width, channels))


def test_an_image_of_several_bands() -> None:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
    image = np.random.default_rng(2).integers(0, 256, (300, 500, 3), dtype=np.uint8)
    for size in ((416, 352), (97, 133), (608, 608)):
        assert np.array_equal(resize(image, size), cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))
