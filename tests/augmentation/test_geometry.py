"""Geometry: what a label says is where the object is, and C's own figures for both kinds of windows."""

from __future__ import annotations

import pathlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from darknet_py.augmentation import colour, detection, geometry, mosaic
from darknet_py.augmentation.detection import Draw, Mix, Recipe
from darknet_py.augmentation.geometry import Window
from darknet_py.cfg.net_section import Net
from darknet_py.data.labels import Truths
from darknet_py.errors import ConfigError
from darknet_py.images.reading import ImageArray
from darknet_py.layers import LAYERS

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "augmentation.npz")
SIZE = (104, 88)
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))


def painted(rng: np.random.Generator, number: int = 0) -> tuple[ImageArray, Truths]:
    """A dark image with one bright rectangle, small enough for a dark mean, and its label."""
    width, height = (int(n) for n in rng.integers(90, 200, 2))
    image = np.zeros((height, width, 3), np.uint8)
    w, h = int(rng.integers(20, width // 2)), int(rng.integers(20, height // 2))
    x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
    image[y : y + h, x : x + w] = COLOURS[number]
    row = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height, number)
    return image, np.array([row], np.float32)


def visible(augmented: colour.Floats, number: int) -> tuple[float, ...] | None:
    """Left, top, right and bottom, in pixels, of what has the colour in [channels, height, width]."""
    near = np.abs(augmented - np.reshape(COLOURS[number], (3, 1, 1)) / 255).max(axis=0) < 0.5
    rows, columns = np.nonzero(near)
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else None


def edges(row: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    x, y, w, h = row[:4]
    found: np.ndarray[Any, Any] = np.array((x - w / 2, y - h / 2, x + w / 2, y + h / 2)) * np.tile(SIZE, 2)
    return found


RECIPES = {
    "as it is": detection.PLAIN,
    "mirrored": Recipe(jitter=0),
    "jitter": Recipe(jitter=0.3),
    "larger": Recipe(jitter=0.2, resize=1.5),
    "smaller": Recipe(jitter=0.1, resize=0.6),
    "letterboxed": Recipe(jitter=0, letter_box=True),
    "letterboxed and moved": Recipe(jitter=0.3, resize=1.5, letter_box=True),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_label_is_where_the_object_is(recipe: Recipe) -> None:
    rng = np.random.default_rng(1)
    seen = 0
    for _ in range(60):
        source = painted(rng)
        augmented, targets = detection.augmented(recipe, SIZE, [source], [detection.draw(recipe, rng)], rng)
        assert augmented.shape == (3, SIZE[1], SIZE[0])
        place = visible(augmented, 0)
        if place is None or not len(targets):
            # A sliver is below a pixel, or blends with the border.
            assert not len(targets) or min(targets[0, 2:4] * SIZE) < 2
            continue
        seen += 1
        assert np.abs(edges(targets[0]) - place).max() <= 1.5
    assert seen > 40


@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize("recipe", [Recipe(jitter=0.3), Recipe(jitter=0.3, resize=1.5, mended=True), detection.PLAIN])
def test_a_mosaic_keeps_labels_on_their_objects(recipe: Recipe, bound: bool) -> None:
    rng = np.random.default_rng(2)
    recipe = replace(recipe, mix=Mix.MOSAIC, mosaic_bound=bound)
    found = 0
    for _ in range(60):
        state = rng.bit_generator.state
        centre = mosaic.centre(SIZE, rng)
        rng.bit_generator.state = state
        sources = [painted(np.random.default_rng((3, found, k)), k) for k in range(4)]
        draws = [detection.draw(recipe, np.random.default_rng((4, found, k))) for k in range(4)]
        augmented, targets = detection.augmented(recipe, SIZE, sources, draws, rng)
        for row in targets:
            number = int(row[4])
            low, high = edges(row)[:2], edges(row)[2:]
            origin = np.array((centre[0] * (number % 2), centre[1] * (number // 2)))
            end = np.array((SIZE[0] if number % 2 else centre[0], SIZE[1] if number // 2 else centre[1]))
            if bound:
                assert (low >= origin - 1e-3).all()
                assert (high <= end + 1e-3).all()
            shown = np.concatenate((np.maximum(low, origin), np.minimum(high, end)))
            place = visible(augmented, number)
            if place is None:  # without bounds a label may lie over a neighbour alone
                assert not bound or min(shown[2:] - shown[:2]) < 3
                continue
            found += 1
            assert np.abs(shown - place).max() <= 2.5
    assert found > 80


def test_mixup_has_both_images_and_all_objects() -> None:
    rng = np.random.default_rng(5)
    sources = [painted(rng, k) for k in range(2)]
    recipe = replace(detection.PLAIN, mix=Mix.MIXUP)
    draws = [detection.draw(recipe, rng) for _ in range(2)]
    alone = [detection.augmented(recipe, SIZE, [s], [d], rng) for s, d in zip(sources, draws, strict=True)]
    augmented, targets = detection.augmented(recipe, SIZE, sources, draws, rng)
    assert np.allclose(augmented, (alone[0][0] + alone[1][0]) / 2)
    assert np.array_equal(targets, np.concatenate([alone[0][1], alone[1][1]]))
    few = replace(recipe, max=1)
    assert len(detection.augmented(few, SIZE, sources, draws, rng)[1]) == 1


def test_mixed_images_lose_the_identity_of_objects() -> None:
    rng = np.random.default_rng(6)
    sources = [(image, np.append(targets, [[7]], axis=1).astype(np.float32)) for image, targets in [painted(rng)] * 4]
    draws = [detection.draw(detection.PLAIN, rng)] * 4
    assert detection.augmented(detection.PLAIN, SIZE, sources[:1], draws[:1], rng)[1][0, 5] == 7
    assert detection.augmented(detection.PLAIN, SIZE, sources[:2], draws[:2], rng)[1][:, 5].tolist() == [7, 0]
    assert not detection.augmented(detection.PLAIN, SIZE, sources, draws, rng)[1][:, 5].any()


def cases(name: str) -> list[int]:
    return [int(key.rpartition("_")[2]) for key in GOLDEN.files if key.startswith(f"{name}_")]


@pytest.mark.parametrize("case", cases("window"))
def test_windows_map_labels_as_c_does(case: int) -> None:
    left, right, top, bottom, width, height, *size, flip = GOLDEN[f"window_{case}"].tolist()
    seen = Window(left, right, top, bottom, width, height)
    mine = geometry.mapped(GOLDEN["labels"], seen, (size[0], size[1]), bool(flip))
    theirs = GOLDEN[f"mapped_{case}"]
    assert len(mine) == len(theirs)
    order = [np.lexsort(rows.round(4).T) for rows in (mine, theirs)]  # C has shuffled them
    assert np.abs(mine[order[0]] - theirs[order[1]]).max() < 1e-5


@pytest.mark.parametrize("case", cases("quadrant"))
def test_quadrants_move_labels_as_c_does(case: int) -> None:
    quadrant, bound, w, h, x, y, *borders = GOLDEN[f"quadrant_{case}"].tolist()
    # A window in an image of the input's size: margins of the mean colour are as wide as the borders.
    left, right, top, bottom = borders
    place = mosaic.part(quadrant, (x, y), Window(-left, -right, -top, -bottom, w, h), (w, h))
    mine = mosaic.moved(GOLDEN["inside"], place, (w, h), bound=bool(bound))
    theirs = GOLDEN[f"moved_{case}"]
    assert mine.shape == theirs.shape
    assert np.abs(mine - theirs).max(initial=0) < 1e-5


def test_what_is_no_box_is_left_out() -> None:
    rows = np.array(
        [(0, 0, 0.5, 0.5, 1), (-0.5, 0.5, 0.2, 0.2, 1), (0.5, 0.5, 0.005, 0.5, 1), (0.5, 0.5, 3, 3, 2)], np.float32
    )
    whole = Window(0, 0, 0, 0, 100, 100)
    assert geometry.mapped(rows, whole, (100, 100), False).tolist() == [[0.5, 0.5, 1, 1, 2]]


def test_the_limit_of_objects_cuts_a_shuffled_list() -> None:
    rows = np.arange(50, dtype=np.float32).reshape(10, 5)
    kept = [tuple(geometry.shuffled(rows, 4, np.random.default_rng(seed))[:, 0]) for seed in range(30)]
    assert all(len(set(one)) == 4 for one in kept)
    assert {value for one in kept for value in one} == set(rows[:, 0])


def test_a_window_that_shows_nothing_gives_the_whole_image() -> None:
    image, targets = painted(np.random.default_rng(8))
    drawn = Draw((1, 1, 1, 1), (1, 1), False, colour.NEUTRAL, 0, 0)
    augmented, boxes = detection.augmented(
        Recipe(jitter=0.9), SIZE, [(image, targets)], [drawn], np.random.default_rng(0)
    )
    plain = Draw((0.5,) * 4, (0.5, 0.5), False, colour.NEUTRAL, 0, 0)
    whole, same = detection.augmented(detection.PLAIN, SIZE, [(image, targets)], [plain], np.random.default_rng(0))
    assert np.array_equal(augmented, whole)
    assert np.array_equal(boxes, same)


def test_beyond_the_edge_is_the_mean_colour() -> None:
    image = np.random.default_rng(9).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    out = geometry.cut(image, Window(-60, 0, -40, 0, 60, 40), (120, 80))
    assert np.abs(out[:35, :55].astype(float) - image.mean(axis=(0, 1))).max() <= 0.5
    assert np.array_equal(out[40:, 60:], image)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channels_than_three(channels: int) -> None:
    rng = np.random.default_rng(10)
    image = rng.integers(0, 100, (50, 60, channels), dtype=np.uint8)
    recipe = Recipe(hue=0.1, saturation=1.5, exposure=2.0, blur=9, gaussian_noise=20)
    targets = painted(rng)[1]
    for _ in range(5):
        augmented, _ = detection.augmented(recipe, SIZE, [(image, targets)], [detection.draw(recipe, rng)], rng)
        assert augmented.shape == (channels, SIZE[1], SIZE[0])
    assert np.array_equal(colour.shifted(image, colour.Shift(0.3, 2.0, 1.0)), image)
    assert np.array_equal(colour.shifted(image, colour.Shift(0.0, 1.0, 2.0)), image * 2)


def head(**keys: Any) -> Any:
    class Stub:
        options = LAYERS["yolo"].Options(**keys)

    return Stub()


def test_a_cfg_makes_a_recipe(caplog: pytest.LogCaptureFixture) -> None:
    net = Net(hue=0.1, exposure=1.5, flip=False, mosaic=True, cutmix=True, mixup=1)
    made = detection.recipe(net, head(jitter=0.3, resize=1.5, max=90))
    assert made == Recipe(jitter=0.3, resize=1.5, max=90, hue=0.1, exposure=1.5, flip=False, mix=Mix.MOSAIC)
    assert "cutmix=1 is for classifiers" in caplog.text
    assert detection.recipe(Net(cutmix=True, mixup=1), head()).mix is Mix.NONE
    assert detection.recipe(Net(mixup=1), head()).mix is Mix.MIXUP
    with pytest.raises(ConfigError, match="mosaic=1 and letter_box=1"):
        detection.recipe(Net(mosaic=True, letter_box=True), head())
