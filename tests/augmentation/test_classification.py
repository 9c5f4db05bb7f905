"""``classification.augment`` applies flip, colour and blur."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from darknet_py.augmentation import classification, colour
from darknet_py.augmentation.classification import ClassificationAugmentation
from darknet_py.images.reading import ImageArray

SIDE = 32


def augment_many(image: ImageArray, count: int = 60, **keys: Any) -> list[colour.FloatImage]:
    """Augmentations, [height, width, channels], with crops that are the whole image."""
    options = ClassificationAugmentation(min_crop=SIDE, max_crop=SIDE, **keys)
    source = (image, np.ones(1, np.float32))
    rngs = [np.random.default_rng(seed) for seed in range(count)]
    return [classification.augment(options, (SIDE, SIDE), [source], rng)[0].transpose(1, 2, 0) for rng in rngs]


def noise() -> ImageArray:
    return np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("flip", [False, True])
def test_half_of_the_images_are_flipped_unless_flip_is_0(flip: bool) -> None:
    image = noise() / np.float32(255)
    flipped = [np.allclose(augmented, image[:, ::-1], atol=1e-6) for augmented in augment_many(noise(), flip=flip)]
    same = [np.allclose(augmented, image, atol=1e-6) for augmented in augment_many(noise(), flip=flip)]
    assert sum(same) + sum(flipped) == 60
    assert 15 < sum(flipped) < 45 if flip else not any(flipped)


def test_the_exposure_is_multiplied_by_a_sampled_factor() -> None:
    grey = np.full((SIDE, SIDE, 3), 100, np.uint8)
    factors = [float(augmented.mean()) * 2.55 for augmented in augment_many(grey, exposure=2.0)]
    assert 0.5 <= min(factors) < 0.6
    assert 1.8 < max(factors) <= 2.0


def test_the_saturation_is_multiplied_by_a_sampled_factor() -> None:
    reddish = np.full((SIDE, SIDE, 3), (200, 100, 100), np.uint8)  # saturation 0.5
    pixels = [augmented[0, 0] for augmented in augment_many(reddish, saturation=1.5)]
    factors = [float(1 - pixel[1] / pixel[0]) / 0.5 for pixel in pixels]
    assert 0.66 <= min(factors) < 0.75
    assert 1.4 < max(factors) <= 1.5 + 1e-5
    assert all(pixel[0] == pytest.approx(200 / 255, abs=1e-5) for pixel in pixels)


def test_the_hue_is_shifted_in_both_directions() -> None:
    red = np.full((SIDE, SIDE, 3), (200, 0, 0), np.uint8)
    pixels = [augmented[0, 0] for augmented in augment_many(red, hue=0.1)]
    assert max(pixel[1] for pixel in pixels) > 0.3  # towards yellow
    assert max(pixel[2] for pixel in pixels) > 0.3  # towards magenta
    assert max(max(pixel[1], pixel[2]) for pixel in pixels) <= 0.6 * 200 / 255 + 1e-5


@pytest.mark.parametrize(("blur", "kernel"), [(1, 15), (5, 5), (6, 7)])
def test_a_quarter_of_the_images_is_blurred_with_the_kernel_of_the_cfg(blur: int, kernel: int) -> None:
    image = noise() / np.float32(255)
    expected = colour.gaussian_filter(image, kernel)
    blurred = [
        np.allclose(augmented, expected, atol=1e-5) for augmented in augment_many(noise(), flip=False, blur=blur)
    ]
    sharp = [np.allclose(augmented, image, atol=1e-6) for augmented in augment_many(noise(), flip=False, blur=blur)]
    assert sum(blurred) + sum(sharp) == 60
    assert 5 < sum(blurred) < 28
