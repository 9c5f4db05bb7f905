"""``augment_image`` and ``augment`` apply the sampled parameters and the options."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from darknet_py.augmentation import colour, detection, mosaic
from darknet_py.augmentation.colour import HSVShift
from darknet_py.augmentation.detection import RESIZE_ONLY, DetectionAugmentation, DetectionMix, SampledParams
from darknet_py.data.labels import empty_targets
from darknet_py.images.reading import ImageArray

SIZE = (40, 40)
NEUTRAL = SampledParams((0.5,) * 4, (0.5, 0.5), flip=False, shift=colour.NO_SHIFT, blur=0, noise=0)


def augment_image(image: ImageArray, params: SampledParams, *, corrected: bool = False) -> ImageArray:
    options = replace(RESIZE_ONLY, corrected=corrected)
    return detection.augment_image(options, SIZE, image, empty_targets(), params, np.random.default_rng(0)).image


@pytest.mark.parametrize("corrected", [False, True])
def test_the_sampled_colour_shift_is_applied(corrected: bool) -> None:
    red = np.full((40, 40, 3), (250, 10, 10), np.uint8)
    shift = HSVShift(hue=-0.1, saturation=0.8, exposure=0.7)
    augmented = augment_image(red, replace(NEUTRAL, shift=shift), corrected=corrected)
    assert np.array_equal(augmented, colour.shift_hsv(red, shift, wrap=corrected))
    assert not np.array_equal(augmented, colour.shift_hsv(red, shift, wrap=not corrected))


@pytest.mark.parametrize("corrected", [False, True])
def test_the_sampled_noise_is_applied(corrected: bool) -> None:
    grey = np.full((40, 40, 3), 128, np.uint8)
    augmented = augment_image(grey, replace(NEUTRAL, noise=20), corrected=corrected)
    assert augmented.max() > 160
    assert bool(augmented.min() < 96) is corrected


def test_the_sampled_flip_mirrors_the_image() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert np.array_equal(augment_image(image, NEUTRAL), image)
    assert np.array_equal(augment_image(image, replace(NEUTRAL, flip=True)), image[:, ::-1])


@pytest.mark.parametrize("corrected", [False, True])
def test_the_border_of_a_mosaics_tile_is_measured_in_the_window_if_corrected(corrected: bool) -> None:
    rng = np.random.default_rng(2)
    options = DetectionAugmentation(jitter=0.4, flip=False, mix=DetectionMix.MOSAIC, corrected=corrected)
    sources = [(rng.integers(0, 256, (60, 50, 3), dtype=np.uint8), empty_targets()) for _ in range(mosaic.TILES)]
    params = [replace(NEUTRAL, jitter=(0.1, 0.2, 0.3, 0.0))] * mosaic.TILES  # windows larger than the image
    augmented, _ = detection.augment(options, SIZE, sources, params, np.random.default_rng(3))

    rng = np.random.default_rng(3)
    centre = mosaic.sample_centre(SIZE, rng)
    samples = [detection.augment_image(options, SIZE, *s, params[k], rng, k) for k, s in enumerate(sources)]
    tiles, others = (
        [mosaic.make_tile(k, centre, s.window, SIZE, exact=exact) for k, s in enumerate(samples)]
        for exact in (corrected, not corrected)
    )
    assert tiles != others
    expected = mosaic.compose([s.image for s in samples], tiles)
    assert np.array_equal(augmented, detection.to_float_chw(expected))
