"""Geometry: labels stay on their objects, and boxes of windows and mosaic tiles equal C Darknet's."""

from __future__ import annotations

import pathlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from darknet_py.augmentation import colour, detection, geometry, mosaic
from darknet_py.augmentation.detection import DetectionAugmentation, DetectionMix, SampledParams
from darknet_py.augmentation.geometry import CropWindow
from darknet_py.cfg.net_section import Net
from darknet_py.data.labels import TargetArray
from darknet_py.errors import ConfigError
from darknet_py.images.reading import ImageArray
from darknet_py.layers import LAYERS

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "augmentation.npz")
SIZE = (104, 88)
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))


def make_sample(rng: np.random.Generator, number: int = 0) -> tuple[ImageArray, TargetArray]:
    """A dark image with one bright rectangle, small enough to keep the mean dark, and its label."""
    width, height = (int(n) for n in rng.integers(90, 200, 2))
    image = np.zeros((height, width, 3), np.uint8)
    w, h = int(rng.integers(20, width // 2)), int(rng.integers(20, height // 2))
    x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
    image[y : y + h, x : x + w] = COLOURS[number]
    row = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height, number)
    return image, np.array([row], np.float32)


def visible_box(augmented: colour.FloatImage, number: int) -> tuple[float, ...] | None:
    """Left, top, right and bottom, in pixels, of the region of a colour in [channels, height, width]."""
    near = np.abs(augmented - np.reshape(COLOURS[number], (3, 1, 1)) / 255).max(axis=0) < 0.5
    rows, columns = np.nonzero(near)
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else None


def edges(row: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    x, y, w, h = row[:4]
    xyxy: np.ndarray[Any, Any] = np.array((x - w / 2, y - h / 2, x + w / 2, y + h / 2)) * np.tile(SIZE, 2)
    return xyxy


AUGMENTATIONS = {
    "resize only": detection.RESIZE_ONLY,
    "flip": DetectionAugmentation(jitter=0),
    "jitter": DetectionAugmentation(jitter=0.3),
    "larger objects": DetectionAugmentation(jitter=0.2, resize=1.5),
    "smaller objects": DetectionAugmentation(jitter=0.1, resize=0.6),
    "letterbox": DetectionAugmentation(jitter=0, letter_box=True),
    "letterbox, jitter and resize": DetectionAugmentation(jitter=0.3, resize=1.5, letter_box=True),
}


@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_the_label_is_on_its_object(augmentation: DetectionAugmentation) -> None:
    rng = np.random.default_rng(1)
    checked = 0
    for _ in range(60):
        source = make_sample(rng)
        augmented, targets = detection.augment(
            augmentation, SIZE, [source], [detection.sample_params(augmentation, rng)], rng
        )
        assert augmented.shape == (3, SIZE[1], SIZE[0])
        box = visible_box(augmented, 0)
        if box is None or not len(targets):
            # A very thin object is less than a pixel, or is blended with the border.
            assert not len(targets) or min(targets[0, 2:4] * SIZE) < 2
            continue
        checked += 1
        assert np.abs(edges(targets[0]) - box).max() <= 1.5
    assert checked > 40


@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize(
    "augmentation",
    [
        DetectionAugmentation(jitter=0.3),
        DetectionAugmentation(jitter=0.3, resize=1.5, corrected=True),
        detection.RESIZE_ONLY,
    ],
)
def test_the_labels_of_a_mosaic_are_on_their_objects(augmentation: DetectionAugmentation, bound: bool) -> None:
    rng = np.random.default_rng(2)
    augmentation = replace(augmentation, mix=DetectionMix.MOSAIC, mosaic_bound=bound)
    checked = 0
    for _ in range(60):
        state = rng.bit_generator.state
        centre = mosaic.sample_centre(SIZE, rng)
        rng.bit_generator.state = state
        sources = [make_sample(np.random.default_rng((3, checked, k)), k) for k in range(4)]
        params = [detection.sample_params(augmentation, np.random.default_rng((4, checked, k))) for k in range(4)]
        augmented, targets = detection.augment(augmentation, SIZE, sources, params, rng)
        for row in targets:
            number = int(row[4])
            low, high = edges(row)[:2], edges(row)[2:]
            origin = np.array((centre[0] * (number % 2), centre[1] * (number // 2)))
            end = np.array((SIZE[0] if number % 2 else centre[0], SIZE[1] if number // 2 else centre[1]))
            if bound:
                assert (low >= origin - 1e-3).all()
                assert (high <= end + 1e-3).all()
            shown = np.concatenate((np.maximum(low, origin), np.minimum(high, end)))
            box = visible_box(augmented, number)
            if box is None:  # without mosaic_bound a box may be entirely in a neighbouring tile
                assert not bound or min(shown[2:] - shown[:2]) < 3
                continue
            checked += 1
            assert np.abs(shown - box).max() <= 2.5
    assert checked > 80


def test_a_mosaic_shows_the_corner_of_each_image_that_is_next_to_the_centre() -> None:
    images = [np.random.default_rng(k).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8) for k in range(4)]
    none = np.zeros((0, 6), np.float32)
    augmentation = replace(detection.RESIZE_ONLY, mix=DetectionMix.MOSAIC)
    params = [detection.sample_params(augmentation, np.random.default_rng(k)) for k in range(4)]
    rng = np.random.default_rng(7)
    x, y = mosaic.sample_centre(SIZE, np.random.default_rng(7))
    augmented, _ = detection.augment(augmentation, SIZE, [(image, none) for image in images], params, rng)
    right, below = SIZE[0] - x, SIZE[1] - y
    expected = np.concatenate(
        (
            np.concatenate((images[0][below:, right:], images[1][below:, :right]), axis=1),
            np.concatenate((images[2][:below, right:], images[3][:below, :right]), axis=1),
        )
    )
    assert np.array_equal(augmented, detection.to_float_chw(expected))


def test_mixup_averages_two_images_and_keeps_all_targets() -> None:
    rng = np.random.default_rng(5)
    sources = [make_sample(rng, k) for k in range(2)]
    augmentation = replace(detection.RESIZE_ONLY, mix=DetectionMix.MIXUP)
    params = [detection.sample_params(augmentation, rng) for _ in range(2)]
    alone = [detection.augment(augmentation, SIZE, [s], [d], rng) for s, d in zip(sources, params, strict=True)]
    augmented, targets = detection.augment(augmentation, SIZE, sources, params, rng)
    assert np.allclose(augmented, (alone[0][0] + alone[1][0]) / 2)
    assert np.array_equal(targets, np.concatenate([alone[0][1], alone[1][1]]))
    few = replace(augmentation, max_objects=1)
    assert len(detection.augment(few, SIZE, sources, params, rng)[1]) == 1


def test_combined_images_have_no_track_ids() -> None:
    rng = np.random.default_rng(6)
    sources = [
        (image, np.append(targets, [[7]], axis=1).astype(np.float32)) for image, targets in [make_sample(rng)] * 4
    ]
    params = [detection.sample_params(detection.RESIZE_ONLY, rng)] * 4
    assert detection.augment(detection.RESIZE_ONLY, SIZE, sources[:1], params[:1], rng)[1][0, 5] == 7
    assert detection.augment(detection.RESIZE_ONLY, SIZE, sources[:2], params[:2], rng)[1][:, 5].tolist() == [7, 0]
    assert not detection.augment(detection.RESIZE_ONLY, SIZE, sources, params, rng)[1][:, 5].any()


def cases(name: str) -> list[int]:
    return [int(key.rpartition("_")[2]) for key in GOLDEN.files if key.rpartition("_")[0] == name]


@pytest.mark.parametrize("case", cases("window"))
def test_boxes_of_a_window_equal_cs(case: int) -> None:
    left, right, top, bottom, width, height, *size, flip = GOLDEN[f"window_{case}"].tolist()
    window = CropWindow(left, right, top, bottom, width, height)
    actual = geometry.transform_boxes(GOLDEN["labels"], window, (size[0], size[1]), bool(flip))
    expected = GOLDEN[f"window_boxes_{case}"]
    assert len(actual) == len(expected)
    order = [np.lexsort(rows.round(4).T) for rows in (actual, expected)]  # C shuffles them
    assert np.abs(actual[order[0]] - expected[order[1]]).max() < 1e-5


@pytest.mark.parametrize("case", cases("tile"))
def test_boxes_of_a_mosaic_tile_equal_cs(case: int) -> None:
    index, bound, w, h, x, y, *borders = GOLDEN[f"tile_{case}"].tolist()
    # A window of an image of the input's size: its padding is as wide as the tile's borders.
    left, right, top, bottom = borders
    tile = mosaic.make_tile(index, (x, y), CropWindow(-left, -right, -top, -bottom, w, h), (w, h))
    actual = mosaic.transform_boxes(GOLDEN["inside"], tile, (w, h), bound=bool(bound))
    expected = GOLDEN[f"tile_boxes_{case}"]
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max(initial=0) < 1e-5


def test_invalid_boxes_are_dropped() -> None:
    rows = np.array(
        [(0, 0, 0.5, 0.5, 1), (-0.5, 0.5, 0.2, 0.2, 1), (0.5, 0.5, 0.005, 0.5, 1), (0.5, 0.5, 3, 3, 2)], np.float32
    )
    whole = CropWindow(0, 0, 0, 0, 100, 100)
    assert geometry.transform_boxes(rows, whole, (100, 100), False).tolist() == [[0.5, 0.5, 1, 1, 2]]


def test_targets_are_shuffled_before_they_are_limited() -> None:
    rows = np.arange(50, dtype=np.float32).reshape(10, 5)
    kept = [tuple(geometry.shuffle(rows, 4, np.random.default_rng(seed))[:, 0]) for seed in range(30)]
    assert all(len(set(one)) == 4 for one in kept)
    assert {value for one in kept for value in one} == set(rows[:, 0])


def test_an_empty_window_is_replaced_by_the_whole_image() -> None:
    image, targets = make_sample(np.random.default_rng(8))
    empty = SampledParams((1, 1, 1, 1), (1, 1), False, colour.NO_SHIFT, 0, 0)
    augmented, boxes = detection.augment(
        DetectionAugmentation(jitter=0.9), SIZE, [(image, targets)], [empty], np.random.default_rng(0)
    )
    plain = SampledParams((0.5,) * 4, (0.5, 0.5), False, colour.NO_SHIFT, 0, 0)
    whole, same = detection.augment(detection.RESIZE_ONLY, SIZE, [(image, targets)], [plain], np.random.default_rng(0))
    assert np.array_equal(augmented, whole)
    assert np.array_equal(boxes, same)


def test_outside_the_image_is_its_mean_colour() -> None:
    image = np.random.default_rng(9).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    out = geometry.crop(image, CropWindow(-60, 0, -40, 0, 60, 40), (120, 80))
    assert np.abs(out[:35, :55].astype(float) - image.mean(axis=(0, 1))).max() <= 0.5
    assert np.array_equal(out[40:, 60:], image)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_of_other_than_three_channels_are_augmented(channels: int) -> None:
    rng = np.random.default_rng(10)
    image = rng.integers(0, 100, (50, 60, channels), dtype=np.uint8)
    augmentation = DetectionAugmentation(hue=0.1, saturation=1.5, exposure=2.0, blur=9, gaussian_noise=20)
    targets = make_sample(rng)[1]
    for _ in range(5):
        augmented, _ = detection.augment(
            augmentation, SIZE, [(image, targets)], [detection.sample_params(augmentation, rng)], rng
        )
        assert augmented.shape == (channels, SIZE[1], SIZE[0])
    assert np.array_equal(colour.shift_hsv(image, colour.HSVShift(0.3, 2.0, 1.0)), image)
    assert np.array_equal(colour.shift_hsv(image, colour.HSVShift(0.0, 1.0, 2.0)), image * 2)


def head(**keys: Any) -> Any:
    class Stub:
        trains_class_only = False
        options = LAYERS["yolo"].Options(**keys)

    return Stub()


def test_the_options_come_from_net_and_the_last_head() -> None:
    net = Net(hue=0.1, exposure=1.5, flip=False, mosaic=True, cutmix=True, mixup=1)
    augmentation = DetectionAugmentation.from_cfg(net, head(jitter=0.3, resize=1.5, max=90))
    assert augmentation == DetectionAugmentation(
        jitter=0.3, resize=1.5, max_objects=90, hue=0.1, exposure=1.5, flip=False, mix=DetectionMix.MOSAIC
    )
    assert DetectionAugmentation.from_cfg(Net(cutmix=True, mixup=1), head()).mix is DetectionMix.NONE
    assert DetectionAugmentation.from_cfg(Net(mixup=1), head()).mix is DetectionMix.MIXUP
    with pytest.raises(ConfigError, match="mosaic=1 and letter_box=1"):
        DetectionAugmentation.from_cfg(Net(mosaic=True, letter_box=True), head())
