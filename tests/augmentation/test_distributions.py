"""Sampled augmentation parameters follow the distributions of Darknet's formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from darknet_py.augmentation import classification, cutmix, detection, mosaic
from darknet_py.augmentation.classification import ClassificationAugmentation, ClassificationMix
from darknet_py.augmentation.detection import DetectionAugmentation, SampledParams
from darknet_py.cfg.net_section import Net

N = 4000
Values = npt.NDArray[np.float64]


def ks_distance(values: npt.ArrayLike, cdf: Callable[[Values], Values]) -> float:
    """Kolmogorov-Smirnov statistic times sqrt(n): above 1.63 with probability 1 %."""
    ordered = np.sort(np.asarray(values, np.float64))
    steps = np.arange(len(ordered) + 1) / len(ordered)
    expected = cdf(ordered)
    largest = max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max())
    return float(largest * np.sqrt(len(ordered)))


def uniform(low: float, high: float) -> Callable[[Values], Values]:
    return lambda x: ((x - low) / (high - low)).clip(0, 1)


def scale_cdf(limit: float) -> Callable[[Values], Values]:
    """Half of the values uniform in 1..limit, half the inverse of such."""
    return lambda x: np.where(
        x >= 1, 0.5 + (x - 1) / (limit - 1) / 2, (limit - 1 / x.clip(1 / limit)) / (limit - 1) / 2
    )


def sample_many(augmentation: DetectionAugmentation) -> list[SampledParams]:
    rng = np.random.default_rng(11)
    return [detection.sample_params(augmentation, rng) for _ in range(N)]


def is_fair(hits: int, probability: float = 0.5, n: int = N) -> bool:
    """Whether a count is within three standard deviations of its expectation."""
    return abs(hits - n * probability) < 3 * float(np.sqrt(n * probability * (1 - probability)))


def test_the_ks_statistic_detects_another_distribution() -> None:
    rng = np.random.default_rng(0)
    assert ks_distance(rng.random(N), uniform(0, 1)) < 1.63
    assert ks_distance(rng.random(N) ** 1.2, uniform(0, 1)) > 1.63


def test_colour_shifts_follow_hue_saturation_and_exposure() -> None:
    shifts = [one.shift for one in sample_many(DetectionAugmentation(hue=0.1, saturation=1.5, exposure=2.0))]
    assert ks_distance([s.hue for s in shifts], uniform(-0.1, 0.1)) < 1.63
    assert ks_distance([s.saturation for s in shifts], scale_cdf(1.5)) < 1.63
    assert ks_distance([s.exposure for s in shifts], scale_cdf(2.0)) < 1.63


def test_flip_noise_and_blur_have_darknets_probabilities() -> None:
    params = sample_many(DetectionAugmentation(blur=9, gaussian_noise=30))
    assert is_fair(sum(d.flip for d in params))
    assert is_fair(sum(d.noise == 30 for d in params))
    assert all(is_fair(sum(d.blur == value for d in params), 1 / 3) for value in (0, 1, 9))
    assert not any(d.flip for d in sample_many(DetectionAugmentation(flip=False)))


def margins(augmentation: DetectionAugmentation, width: int = 5000, height: int = 3000) -> Values:
    """Left, right, top and bottom relative to the image, [N, 4]."""
    windows = [detection.compute_window(augmentation, d, width, height)[:4] for d in sample_many(augmentation)]
    return np.array(windows) / (width, width, height, height)


def test_jitter_is_uniform_on_every_side() -> None:
    for side in margins(DetectionAugmentation(jitter=0.3)).T:
        assert ks_distance(side, uniform(-0.3, 0.3)) < 1.63


def test_resize_without_jitter_gives_left_and_top_one_margin_and_right_and_bottom_another() -> None:
    left, right, top, bottom = margins(DetectionAugmentation(jitter=0, resize=1.5)).T
    # Margins from (1 - 1.5) / 2, smaller objects, to (1 - 1 / 1.5) / 2, larger objects.
    for side in (left, right, top, bottom):
        assert ks_distance(side, uniform(-0.25, 1 / 6)) < 1.63
    assert np.abs(left - top).max() < 1e-3
    assert np.abs(right - bottom).max() < 1e-3
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.05


def test_resize_below_one_only_makes_objects_smaller() -> None:
    for side in margins(DetectionAugmentation(jitter=0, resize=0.5)).T:
        assert ks_distance(side, uniform(-0.5, 0)) < 1.63


def test_the_centre_of_a_mosaic_is_uniform() -> None:
    rng = np.random.default_rng(13)
    points = np.array([mosaic.sample_centre((1000, 500), rng) for _ in range(N)])
    assert ks_distance(points[:, 0], uniform(199.5, 800.5)) < 1.63
    assert ks_distance(points[:, 1], uniform(99.5, 400.5)) < 1.63


def test_half_of_the_images_of_a_mosaic_are_aligned_to_their_tile() -> None:
    rng = np.random.default_rng(14)
    image = np.zeros((100, 100, 3), np.uint8)
    augmentation = DetectionAugmentation(jitter=0.3, flip=False)
    aligned = 0
    for _ in range(400):
        params = detection.sample_params(augmentation, rng)
        window = detection.augment_image(
            augmentation, (32, 32), image, np.zeros((0, 5), np.float32), params, rng, tile=3
        ).window
        plain = detection.compute_window(augmentation, params, 100, 100)
        assert window in (plain, plain.align_to_tile(3, False))
        aligned += window != plain
    assert is_fair(aligned, n=400)


def test_a_classifiers_crop_follows_angle_aspect_and_crop() -> None:
    augmentation = ClassificationAugmentation(min_crop=128, max_crop=448, angle=7, aspect=0.75)
    rng = np.random.default_rng(15)
    crops = [classification.sample_crop(augmentation, 500, 400, 224, rng) for _ in range(N)]
    assert ks_distance(np.rad2deg([p.angle for p in crops]), uniform(-7, 7)) < 1.63
    assert (
        ks_distance([p.aspect for p in crops], lambda x: np.where(x < 1, (x - 0.75) * 2, 0.5 + (1 - 1 / x) * 2)) < 1.63
    )
    sides = [p.scale * int(min(400, 500 * p.aspect)) for p in crops]
    assert ks_distance(sides, uniform(127.5, 448.5)) < 1.63
    for p in crops:
        assert abs(p.dx) <= max(0, (500 * p.scale / p.aspect - 224) / 2) + 1e-9
        assert abs(p.dy) <= max(0, (400 * p.scale - 224) / 2) + 1e-9


def test_a_classifiers_options_come_from_net() -> None:
    assert ClassificationAugmentation.from_cfg(Net(), (224, 224)) == ClassificationAugmentation(
        min_crop=224, max_crop=448
    )
    mixed = ClassificationAugmentation.from_cfg(
        Net(min_crop=128, max_crop=448, mosaic=True, cutmix=True, mixup=1, angle=7), (256, 256)
    )
    assert (mixed.min_crop, mixed.max_crop, mixed.mix, mixed.angle) == (128, 448, ClassificationMix.CUTMIX_OR_MOSAIC, 7)
    assert ClassificationAugmentation.from_cfg(Net(cutmix=True, mixup=1), (9, 9)).mix is ClassificationMix.CUTMIX
    assert ClassificationAugmentation.from_cfg(Net(mixup=1), (9, 9)).mix is ClassificationMix.MIXUP
    assert ClassificationAugmentation.from_cfg(Net(mosaic=True), (9, 9)).mix is ClassificationMix.MOSAIC


def test_the_rectangle_of_cutmix_is_uniform() -> None:
    rng = np.random.default_rng(16)
    boxes = np.array([cutmix.sample_rectangle((1000, 600), rng) for _ in range(N)])
    assert ks_distance(boxes[:, 2], uniform(299.5, 800.5)) < 1.63
    assert ks_distance(boxes[:, 3], uniform(179.5, 480.5)) < 1.63
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= (1000, 600)).all()
    assert ks_distance(boxes[:, 0] / (1000 - boxes[:, 2]), uniform(0, 1)) < 1.63


@pytest.mark.parametrize("mix", list(ClassificationMix))
def test_classes_are_weighted_by_area(mix: ClassificationMix) -> None:
    rng = np.random.default_rng(17)
    images = [np.full((50, 80, 3), value, np.float32) for value in (0.1, 0.2, 0.4, 0.8)][: mix.source_count]
    classes = list(np.eye(4, dtype=np.float32)[: mix.source_count])
    counts = set()
    for _ in range(20):
        image, vector = classification.mix_images(mix, images, classes, rng)
        if mix is ClassificationMix.MIXUP:
            assert image == pytest.approx(0.15)
            assert vector.tolist() == [0.5, 0.5, 0, 0]
            continue
        areas = [float((image[:, :, 0] == p[0, 0, 0]).mean()) for p in images] + [0.0] * (4 - len(images))
        assert vector == pytest.approx(areas, abs=1e-6)
        counts.add(sum(area > 0 for area in areas))
    expected = {
        ClassificationMix.NONE: {1},
        ClassificationMix.MIXUP: set(),
        ClassificationMix.CUTMIX: {2},
        ClassificationMix.MOSAIC: {4},
        ClassificationMix.CUTMIX_OR_MOSAIC: {2, 4},
    }
    assert counts == expected[mix]


def test_a_quarter_of_a_classifiers_images_is_blurred() -> None:
    image = np.indices((32, 32)).sum(axis=0)[:, :, None].repeat(3, axis=2) % 2 * 255
    source = (image.astype(np.uint8), np.ones(1, np.float32))
    augmentation = ClassificationAugmentation(min_crop=32, max_crop=32, flip=False, blur=1)
    rng = np.random.default_rng(18)
    images = [classification.augment(augmentation, (32, 32), [source], rng)[0] for _ in range(400)]
    assert is_fair(sum(float(image[:, 8:-8, 8:-8].std()) < 0.1 for image in images), 0.25, 400)
