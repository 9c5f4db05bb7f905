"""Pixels of augmented images against OpenCV's and C Darknet's own."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from darknet_py.augmentation import classification, colour, detection, geometry
from darknet_py.augmentation.colour import Shift

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "augmentation.npz")


def off(mine: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Largest and mean difference."""
    difference = mine.astype(float) - theirs
    return float(np.abs(difference).max()), float(abs(difference.mean()))


@pytest.mark.parametrize("size", [(16, 16), (50, 41), (33, 12)])
def test_resizing_is_opencvs(size: tuple[int, int]) -> None:
    most, mean = off(geometry.scaled(GOLDEN["picture"], size), GOLDEN[f"resized_{size[0]}x{size[1]}"])
    assert most <= 1
    assert mean < 0.25


@pytest.mark.parametrize("name", ["up", "down", "far"])
def test_colours_change_as_opencvs(name: str) -> None:
    most, mean = off(colour.shifted(GOLDEN["colours"], Shift(*GOLDEN[f"shift_{name}"])), GOLDEN[f"shifted_{name}"])
    assert most <= 1
    assert mean < 0.1


@pytest.mark.parametrize("size", [3, 5, 7, 9, 17])
def test_blur_is_opencvs(size: int) -> None:
    most, mean = off(colour.blurred(GOLDEN["picture"], size), GOLDEN[f"blurred_{size}"])
    assert most <= 1
    assert mean < 0.1


@pytest.mark.parametrize("case", range(2))
def test_floats_change_colour_as_in_c(case: int) -> None:
    mine = colour.distorted(GOLDEN["picture"] / np.float32(255), Shift(*GOLDEN[f"distortion_{case}"]))
    assert off(mine, GOLDEN[f"distorted_{case}"])[0] < 2e-6


@pytest.mark.parametrize("case", range(3))
def test_a_classifiers_square_is_cs(case: int) -> None:
    place = classification.Place(*GOLDEN[f"place_{case}"])
    assert off(classification.square(GOLDEN["picture"], place, 18), GOLDEN[f"square_{case}"])[0] < 2e-5


def test_a_neutral_shift_changes_nothing() -> None:
    assert np.array_equal(colour.shifted(GOLDEN["picture"], colour.NEUTRAL), GOLDEN["picture"])
    assert np.allclose(
        colour.distorted(GOLDEN["picture"] / np.float32(255), colour.NEUTRAL), GOLDEN["picture"] / 255, atol=1e-6
    )


def test_red_sticks_at_the_end_of_the_scale_unless_mended() -> None:
    red = np.full((2, 2, 3), (250, 10, 10), np.uint8)
    assert np.abs(colour.shifted(red, Shift(hue=-0.1)).astype(int) - red).max() <= 1
    turned = colour.shifted(red, Shift(hue=-0.1), wrap=True)[0, 0].astype(int)
    assert turned[2] > turned[1] + 100  # towards magenta


def test_noise_only_brightens_unless_mended() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    rng = np.random.default_rng(1)
    faithful = colour.noisy(grey, 20, rng).astype(float) - 128
    assert faithful.min() == 0
    assert faithful.mean() == pytest.approx(20 / np.sqrt(2 * np.pi), rel=0.02)
    signed = colour.noisy(grey, 20, rng, signed=True).astype(float) - 128
    assert abs(signed.mean()) < 0.3
    assert signed.std() == pytest.approx(20, rel=0.02)


def blurry(blur: int, targets: np.ndarray, size: int = 160) -> tuple[bool, bool]:
    """Whether blur changes a checkerboard within the first box, and outside of all."""
    board = np.indices((size, size)).sum(axis=0) % 2 * 255
    image = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)
    drawn = detection.Draw((0.5,) * 4, (0.5, 0.5), False, colour.NEUTRAL, blur, 0)
    seen = detection.view(detection.PLAIN, (size, size), image, targets, drawn, np.random.default_rng(0))
    changed = (seen.image != image).any(axis=2)
    return bool(changed[size // 2, size // 2]), bool(changed[5, 5])


def test_blur_spares_objects_that_it_would_hide() -> None:
    large = np.array([(0.5, 0.5, 0.5, 0.5, 0)], np.float32)  # 80 pixels: up to 10 may be
    small = large * np.array((1, 1, 0.2, 0.2, 1), np.float32)  # 16: 2, of which the window is 3
    tiny = large * np.array((1, 1, 0.1, 0.1, 1), np.float32)  # 8: 1, which is the background alone
    speck = large * np.array((1, 1, 0.05, 0.05, 1), np.float32)  # 4: none
    assert blurry(9, large) == (True, True)
    assert blurry(9, small) == (True, True)
    assert blurry(9, tiny) == (False, True)
    assert blurry(9, speck) == (False, False)
    assert blurry(1, large) == (False, True)
    assert blurry(9, large[:0]) == (False, False)
