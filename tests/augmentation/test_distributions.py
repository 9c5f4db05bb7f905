"""What augmentation draws, against the distributions that Darknet's formulas have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from darknet_py.augmentation import classification, detection, mosaic
from darknet_py.augmentation.classification import Mix
from darknet_py.augmentation.detection import Draw, Recipe
from darknet_py.cfg.net_section import Net

N = 4000
Values = npt.NDArray[np.float64]


def distance(values: npt.ArrayLike, share_below: Callable[[Values], Values]) -> float:
    """Kolmogorov's and Smirnov's, times the root of the number: above 1.63 once in a hundred draws."""
    ordered = np.sort(np.asarray(values, np.float64))
    steps = np.arange(len(ordered) + 1) / len(ordered)
    expected = share_below(ordered)
    most = max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max())
    return float(most * np.sqrt(len(ordered)))


def uniform(low: float, high: float) -> Callable[[Values], Values]:
    return lambda x: ((x - low) / (high - low)).clip(0, 1)


def factor(most: float) -> Callable[[Values], Values]:
    """Half of them uniform in 1..most, half the inverse of such."""
    return lambda x: np.where(x >= 1, 0.5 + (x - 1) / (most - 1) / 2, (most - 1 / x.clip(1 / most)) / (most - 1) / 2)


def draws(recipe: Recipe) -> list[Draw]:
    rng = np.random.default_rng(11)
    return [detection.draw(recipe, rng) for _ in range(N)]


def fair(hits: int, chance: float = 0.5, n: int = N) -> bool:
    """Within three deviations of the expectation."""
    return abs(hits - n * chance) < 3 * float(np.sqrt(n * chance * (1 - chance)))


def test_the_measure_itself() -> None:
    rng = np.random.default_rng(0)
    assert distance(rng.random(N), uniform(0, 1)) < 1.63
    assert distance(rng.random(N) ** 1.2, uniform(0, 1)) > 1.63


def test_colours() -> None:
    shifts = [one.shift for one in draws(Recipe(hue=0.1, saturation=1.5, exposure=2.0))]
    assert distance([s.hue for s in shifts], uniform(-0.1, 0.1)) < 1.63
    assert distance([s.saturation for s in shifts], factor(1.5)) < 1.63
    assert distance([s.exposure for s in shifts], factor(2.0)) < 1.63


def test_coins() -> None:
    drawn = draws(Recipe(blur=9, gaussian_noise=30))
    assert fair(sum(d.flip for d in drawn))
    assert fair(sum(d.noise == 30 for d in drawn))
    assert all(fair(sum(d.blur == value for d in drawn), 1 / 3) for value in (0, 1, 9))
    assert not any(d.flip for d in draws(Recipe(flip=False)))


def margins(recipe: Recipe, width: int = 5000, height: int = 3000) -> Values:
    """Left, right, top and bottom as parts of the image, [N, 4]."""
    windows = [detection.window_of(recipe, d, width, height)[:4] for d in draws(recipe)]
    return np.array(windows) / (width, width, height, height)


def test_jitter_is_uniform_on_every_side() -> None:
    for side in margins(Recipe(jitter=0.3)).T:
        assert distance(side, uniform(-0.3, 0.3)) < 1.63


def test_resize_alone_keeps_opposite_corners_together() -> None:
    left, right, top, bottom = margins(Recipe(jitter=0, resize=1.5)).T
    # 1 - 1.5 is halved at the most for smaller, 1 - 1 / 1.5 for larger objects.
    for side in (left, right, top, bottom):
        assert distance(side, uniform(-0.25, 1 / 6)) < 1.63
    assert np.abs(left - top).max() < 1e-3
    assert np.abs(right - bottom).max() < 1e-3
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.05


def test_resize_below_one_makes_objects_smaller_alone() -> None:
    for side in margins(Recipe(jitter=0, resize=0.5)).T:
        assert distance(side, uniform(-0.5, 0)) < 1.63


def test_margins_are_cs_to_the_pixel() -> None:
    rng = np.random.default_rng(12)
    for resize in (1.0, 1.5, 0.7):
        for _ in range(50):
            width, height = (int(n) for n in rng.integers(50, 900, 2))
            recipe = Recipe(jitter=0.3, resize=resize)
            d = detection.draw(recipe, rng)
            down, up = (1 / resize, resize) if resize > 1 else (resize, 1 / resize)
            expected = []
            for side, r, q in zip((width, width, height, height), d.edges, d.sizes * 2, strict=True):
                reach = int(side * 0.3)
                low, high = int(side * (1 - 1 / down) / 2), int(side * (1 - 1 / up) / 2)
                if resize < 1:
                    high = 0
                expected.append(int(int(-reach + r * (2 * reach)) + (low + q * (high - low))))
            assert detection.window_of(recipe, d, width, height)[:4] == tuple(expected)


def test_the_point_of_a_mosaic() -> None:
    rng = np.random.default_rng(13)
    points = np.array([mosaic.centre((1000, 500), rng) for _ in range(N)])
    assert distance(points[:, 0], uniform(199.5, 800.5)) < 1.63
    assert distance(points[:, 1], uniform(99.5, 400.5)) < 1.63


def test_every_second_image_of_a_mosaic_is_pushed_into_its_corner() -> None:
    rng = np.random.default_rng(14)
    image, recipe = np.zeros((100, 100, 3), np.uint8), Recipe(jitter=0.3, flip=False)
    pushed = 0
    for _ in range(400):
        drawn = detection.draw(recipe, rng)
        seen = detection.view(recipe, (32, 32), image, np.zeros((0, 5), np.float32), drawn, rng, quadrant=3).window
        plain = detection.window_of(recipe, drawn, 100, 100)
        assert seen in (plain, plain.pushed(3, False))
        pushed += seen != plain
    assert fair(pushed, n=400)


def test_a_classifiers_square() -> None:
    recipe = classification.Recipe(min_crop=128, max_crop=448, angle=7, aspect=0.75)
    rng = np.random.default_rng(15)
    places = [classification.draw(recipe, 500, 400, 224, rng) for _ in range(N)]
    assert distance(np.rad2deg([p.angle for p in places]), uniform(-7, 7)) < 1.63
    assert distance([p.aspect for p in places], lambda x: np.where(x < 1, (x - 0.75) * 2, 0.5 + (1 - 1 / x) * 2)) < 1.63
    sides = [p.scale * int(min(400, 500 * p.aspect)) for p in places]
    assert distance(sides, uniform(127.5, 448.5)) < 1.63
    for p in places:
        assert abs(p.right) <= max(0, (500 * p.scale / p.aspect - 224) / 2) + 1e-9
        assert abs(p.down) <= max(0, (400 * p.scale - 224) / 2) + 1e-9


def test_crops_of_a_cfg() -> None:
    assert classification.recipe(Net(), (224, 224)) == classification.Recipe(min_crop=224, max_crop=448)
    made = classification.recipe(
        Net(min_crop=128, max_crop=448, mosaic=True, cutmix=True, mixup=1, angle=7), (256, 256)
    )
    assert (made.min_crop, made.max_crop, made.mix, made.angle) == (128, 448, Mix.EITHER, 7)
    assert classification.recipe(Net(cutmix=True, mixup=1), (9, 9)).mix is Mix.CUTMIX
    assert classification.recipe(Net(mixup=1), (9, 9)).mix is Mix.MIXUP
    assert classification.recipe(Net(mosaic=True), (9, 9)).mix is Mix.MOSAIC


def test_cutmix_takes_a_rectangle() -> None:
    rng = np.random.default_rng(16)
    boxes = np.array([classification.rectangle((1000, 600), rng) for _ in range(N)])
    assert distance(boxes[:, 2], uniform(299.5, 800.5)) < 1.63
    assert distance(boxes[:, 3], uniform(179.5, 480.5)) < 1.63
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= (1000, 600)).all()
    assert distance(boxes[:, 0] / (1000 - boxes[:, 2]), uniform(0, 1)) < 1.63


@pytest.mark.parametrize("mix", list(Mix))
def test_classes_are_mixed_by_their_area(mix: Mix) -> None:
    rng = np.random.default_rng(17)
    images = [np.full((50, 80, 3), value, np.float32) for value in (0.1, 0.2, 0.4, 0.8)][: mix.images]
    classes = list(np.eye(4, dtype=np.float32)[: mix.images])
    counts = set()
    for _ in range(20):
        image, vector = classification.mixed(mix, images, classes, rng)
        if mix is Mix.MIXUP:
            assert image == pytest.approx(0.15)
            assert vector.tolist() == [0.5, 0.5, 0, 0]
            continue
        areas = [float((image[:, :, 0] == p[0, 0, 0]).mean()) for p in images] + [0.0] * (4 - len(images))
        assert vector == pytest.approx(areas, abs=1e-6)
        counts.add(sum(area > 0 for area in areas))
    expected = {Mix.NONE: {1}, Mix.MIXUP: set(), Mix.CUTMIX: {2}, Mix.MOSAIC: {4}, Mix.EITHER: {2, 4}}
    assert counts == expected[mix]


def test_a_quarter_of_a_classifiers_images_is_blurred() -> None:
    image = np.indices((32, 32)).sum(axis=0)[:, :, None].repeat(3, axis=2) % 2 * 255
    source = (image.astype(np.uint8), np.ones(1, np.float32))
    recipe = classification.Recipe(min_crop=32, max_crop=32, flip=False, blur=1)
    rng = np.random.default_rng(18)
    images = [classification.augmented(recipe, (32, 32), [source], rng)[0] for _ in range(400)]
    assert fair(sum(float(image[:, 8:-8, 8:-8].std()) < 0.1 for image in images), 0.25, 400)
