"""Effects that Darknet does not have: shapes and distributions by the papers' text, the bilateral filter by OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from darknet_py.augmentation import classification, colour, detection, effects
from darknet_py.augmentation.detection import RESIZE_ONLY
from darknet_py.augmentation.effects import NO_EFFECTS, Effects
from darknet_py.cfg.net_section import Net
from darknet_py.data.labels import empty_targets

N = 2000
Floats = npt.NDArray[np.float64]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def two_sample_distance(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Kolmogorov-Smirnov statistic of two samples of N values times sqrt(N / 2): above 1.63 with probability 1 %."""
    x, y = np.sort(np.asarray(a)), np.sort(np.asarray(b))
    both = np.concatenate((x, y))
    shares = [np.searchsorted(part, both, side="right") / len(part) for part in (x, y)]
    return float(np.abs(shares[0] - shares[1]).max() * np.sqrt(len(x) / 2))


def is_near(values: Any, expected: float) -> bool:
    """Whether a mean is within four standard errors of its expectation."""
    sample = np.asarray(values, np.float64)
    return bool(abs(sample.mean() - expected) < 4 * sample.std() / np.sqrt(len(sample)) + 1e-12)


def random_image(seed: int = 1, height: int = 60, width: int = 90) -> colour.FloatImage:
    return generator(seed).random((3, height, width), np.float32)


def test_without_keys_nothing_is_drawn_and_the_image_is_returned() -> None:
    image, rng = random_image(), generator()
    assert Effects.from_cfg(Net()) == NO_EFFECTS
    assert NO_EFFECTS.apply(image, rng) is image
    assert rng.random() == generator().random()


def measures(rectangles: Floats) -> tuple[Floats, ...]:
    """Area, height / width, top and left."""
    top, left, height, width = rectangles.T
    return height * width, height / width, top, left


def test_random_erasing_follows_algorithm_1_of_its_paper() -> None:
    """Area in 2 to 40 %, height / width in 0.3 to 1 / 0.3, drawn again where the rectangle leaves the image."""
    height, width, rng, other = 200, 300, generator(2), generator(3)
    mine = np.array([effects.sample_rectangle(height, width, rng) for _ in range(N)], np.float64)
    expected: list[tuple[float, ...]] = []
    while len(expected) < N:
        area, aspect = (0.02 + 0.38 * other.random()) * height * width, 0.3 + (1 / 0.3 - 0.3) * other.random()
        h, w, y, x = (area * aspect) ** 0.5, (area / aspect) ** 0.5, other.random() * height, other.random() * width
        if x + w <= width and y + h <= height:
            expected.append((y, x, h, w))
    drawn = np.array(expected)
    assert (mine[:, 0] + mine[:, 2] <= height).all()
    assert (mine[:, 1] + mine[:, 3] <= width).all()
    for one, other_one in zip(measures(mine), measures(drawn), strict=True):
        assert two_sample_distance(one, other_one) < 1.63
    assert is_near(mine[:, 2] * mine[:, 3], float((drawn[:, 2] * drawn[:, 3]).mean()))


def test_random_erasing_writes_noise_with_its_probability() -> None:
    image, rng = np.full((3, 64, 64), 0.5, np.float32), generator(4)
    changed = []
    for _ in range(400):
        out = Effects(random_erasing=0.3).apply(image, rng)
        mask = (out != image).any(axis=0)
        changed.append(mask.any())
        if mask.any():
            rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
            part = out[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert mask.sum() == mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].size
            assert 0.2 < part.std() < 0.36  # uniform: 0.289
    assert is_near(changed, 0.3)
    assert image.min() == image.max() == 0.5


def test_the_square_of_cutout_has_its_centre_in_the_image() -> None:
    """The mean erased area is the product of the mean lengths of an interval that is cut at both ends."""
    height, width, side, rng = 40, 60, 16, generator(5)
    masks = np.array([effects.sample_cutout(height, width, side, rng) for _ in range(N)])
    lengths = [
        np.mean([min(n, centre - 8 + side) - max(0, centre - 8) for centre in range(n)]) for n in (height, width)
    ]
    areas = masks.sum(axis=(1, 2))
    assert is_near(areas, float(lengths[0] * lengths[1]))
    assert areas.max() == side**2
    assert areas.min() < side**2 / 3
    inner = masks[:, side:-side, side:-side].mean(axis=0)
    assert inner.std() < 0.02  # every pixel is erased as often


def test_what_is_erased_gets_the_mean_colour() -> None:
    image = random_image()
    out = Effects(cutout=20).apply(image, generator(6))
    mask = (out != image).any(axis=0)
    assert 0 < mask.sum() <= 400
    np.testing.assert_allclose(
        out[:, mask], np.broadcast_to(image.mean(axis=(1, 2))[:, None], (3, mask.sum())), rtol=1e-5
    )


def test_hide_and_seek_hides_patches_of_one_side() -> None:
    """Sides 16, 32, 44, 56 or none, each for a fifth of the images; patches are hidden independently."""
    size, rng = 11 * 32 * 7, generator(7)  # divided by all sides
    assert all(size % side == 0 for side in (16, 32, 44, 56))
    sides, shares = [], []
    for _ in range(60):
        mask = effects.sample_hidden_patches(size // 7, size, 0.4, rng)[:1]
        edges = np.nonzero(np.diff(mask[0]))[0] + 1
        sides.append(int(np.gcd.reduce(edges)) if len(edges) else 0)
        if sides[-1]:
            shares.append(mask.mean())
    assert set(sides) == {0, 16, 32, 44, 56}
    assert np.mean(shares) == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("ratio", [0.4, 0.6])
def test_gridmask_keeps_the_share_of_its_paper(ratio: float) -> None:
    """The share kept is 1 - (1 - r)**2; units of 96 to 224 pixels of 224; squares of (1 - r) d; uniform offsets."""
    rng, units, kept, offsets = generator(8), [], [], []
    for _ in range(300):
        mask = effects.sample_grid(224, 448, ratio, rng)
        kept.append(1 - mask.mean())
        starts, ends = (np.nonzero(np.diff(mask.any(axis=0).astype(int)) == step)[0] + 1 for step in (1, -1))
        if len(starts) > 1:
            unit = int(starts[1] - starts[0])
            units.append(unit)
            width = int(ends[ends > starts[0]][0] - starts[0])
            assert width == unit - round(ratio * unit)
            offsets.append((starts[0] % unit) / unit)
    assert np.mean(kept) == pytest.approx(1 - (1 - ratio) ** 2, abs=0.02)
    assert min(units) >= 96
    assert max(units) <= 224
    assert np.mean(units) == pytest.approx(160, abs=8)
    assert np.histogram(offsets, bins=4, range=(0, 1))[0].min() > len(offsets) / 4 * 0.6


def test_gridmask_is_applied_with_its_probability() -> None:
    image, rng = random_image(), generator(9)
    assert is_near([Effects(grid_mask=0.7).apply(image, rng) is not image for _ in range(600)], 0.7)


def test_the_bilateral_filter_is_opencvs() -> None:
    """cv::bilateralFilter(image, size, 75, 75), the call that C leaves out; OpenCV rounds to whole levels."""
    cv2 = pytest.importorskip("cv2")
    image = np.repeat(np.repeat(generator(10).integers(0, 256, (12, 15, 3), dtype=np.uint8), 4, axis=0), 4, axis=1)
    image = np.clip(image + generator(11).normal(0, 9, image.shape), 0, 255).astype(np.uint8)
    for size in (5, 9, 17):
        expected = cv2.bilateralFilter(image, size, 75, 75).astype(np.float32)
        mine = colour.bilateral_filter(image, size)
        assert np.abs(mine - expected).max() <= 0.51
    assert np.abs(mine - image).mean() > 2


def test_the_bilateral_filter_is_applied_to_half_of_the_images() -> None:
    image, rng = random_image(), generator(12)
    outs = [Effects(bilateral_blur=5).apply(image, rng) for _ in range(60)]
    filtered = [out for out in outs if out is not image]
    assert 18 <= len(filtered) <= 42
    expected = colour.bilateral_filter(image.transpose(1, 2, 0) * 255, 5).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(filtered[0], expected, atol=1e-6)


def test_effects_come_after_darknets_augmentation_of_detectors_and_classifiers() -> None:
    pixels = generator(13).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    kept = Effects(cutout=12)
    options = [
        detection.DetectionAugmentation(jitter=0, flip=False, effects=each, gaussian_noise=9)
        for each in (NO_EFFECTS, kept)
    ]
    params = [detection.sample_params(options[0], generator(14))]
    plain, erased = (
        detection.augment(o, (40, 40), [(pixels, empty_targets())], params, generator(15)) for o in options
    )
    assert 0 < (plain[0] != erased[0]).any(axis=0).sum() <= 144
    crops = [classification.ClassificationAugmentation(min_crop=40, max_crop=60, effects=e) for e in (NO_EFFECTS, kept)]
    classes = np.ones(1, np.float32)
    plain, erased = (classification.augment(o, (40, 40), [(pixels, classes)], generator(16)) for o in crops)
    assert 0 < (plain[0] != erased[0]).any(axis=0).sum() <= 144


def test_options_come_from_net() -> None:
    net = Net(random_erasing=0.5, cutout=8, hide_and_seek=0.4, grid_mask=0.8, grid_mask_ratio=0.5, bilateral_blur=9)
    expected = Effects(
        random_erasing=0.5, cutout=8, hide_and_seek=0.4, grid_mask=0.8, grid_mask_ratio=0.5, bilateral_blur=9
    )
    assert Effects.from_cfg(net) == expected
    assert classification.ClassificationAugmentation.from_cfg(net, (32, 32)).effects == expected
    assert RESIZE_ONLY.effects == NO_EFFECTS
