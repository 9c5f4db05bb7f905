"""CutMix of detectors: boxes by counting visible pixels, images by their colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from darknet_py.augmentation import cutmix, detection
from darknet_py.augmentation.detection import RESIZE_ONLY, DetectionMix, LabelledImage
from darknet_py.data.labels import TargetArray

SIZE = (60, 40)
OPTIONS = replace(RESIZE_ONLY, cutmix=True)


def random_targets(rng: np.random.Generator, n: int = 400) -> tuple[TargetArray, list[tuple[int, int, int, int]]]:
    """Boxes with edges at whole pixels: as targets, and as x0, y0, x1, y1."""
    edges: list[tuple[int, int, int, int]] = []
    while len(edges) < n:
        (x0, x1), (y0, y1) = (sorted(int(v) for v in rng.integers(0, side + 1, 2)) for side in SIZE)
        if x1 > x0 and y1 > y0:
            edges.append((x0, y0, x1, y1))
    boxes = np.array(edges, np.float32) / np.array(SIZE * 2, np.float32)
    rows = np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1)
    return np.concatenate((rows, np.arange(n, dtype=np.float32)[:, None]), axis=1), edges


@pytest.mark.parametrize("pasted", [False, True])
def test_boxes_surround_the_visible_pixels(pasted: bool) -> None:
    targets, edges = random_targets(np.random.default_rng(1))
    dropped = shortened = 0
    for rectangle in ((10, 5, 30, 20), (0, 0, 25, 40), (20, 10, 40, 30), (0, 12, 60, 12)):
        left, top, width, height = rectangle
        inside = np.zeros(SIZE[::-1], bool)
        inside[top : top + height, left : left + width] = True
        found = {int(row[4]): row[:4] for row in cutmix.visible_boxes(targets, rectangle, SIZE, pasted=pasted)}
        for number, (x0, y0, x1, y1) in enumerate(edges):
            visible = np.zeros(SIZE[::-1], bool)
            visible[y0:y1, x0:x1] = True
            visible &= inside if pasted else ~inside
            share = visible.sum() / ((x1 - x0) * (y1 - y0))
            if abs(share - 0.3) < 1e-6:
                continue
            assert (number in found) == (share > 0.3)
            if number not in found:
                dropped += 1
                continue
            rows, columns = np.nonzero(visible.any(axis=1))[0], np.nonzero(visible.any(axis=0))[0]
            expected = np.array((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)) / (SIZE * 2)
            cx, cy, w, h = found[number]
            np.testing.assert_allclose((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), expected, atol=1e-5)
            shortened += (expected * (SIZE * 2) != (x0, y0, x1, y1)).any()
    assert dropped > 50
    assert shortened > 50


def sources(count: int) -> list[LabelledImage]:
    """Images of one grey each, with an object of the class of their number that fills them."""
    return [
        (np.full((*SIZE[::-1], 3), 40 * (n + 1), np.uint8), np.array([[0.5, 0.5, 1, 1, n, 7 + n]], np.float32))
        for n in range(count)
    ]


def test_a_rectangle_of_the_second_image_is_pasted() -> None:
    rng = np.random.default_rng(2)
    params = [detection.sample_params(OPTIONS, rng) for _ in range(2)]
    for _ in range(50):
        image, targets = detection.augment(OPTIONS, SIZE, sources(2), params, rng)
        second = np.isclose(image[0], 80 / 255)
        assert second.sum() + np.isclose(image[0], 40 / 255).sum() == second.size
        rows, columns = np.nonzero(second.any(axis=1))[0], np.nonzero(second.any(axis=0))[0]
        assert second.sum() == len(rows) * len(columns)
        by_class = {int(row[4]): row for row in targets}
        share = second.mean()
        if min(abs(share - 0.3), abs(share - 0.7)) > 1e-6:
            assert (1 in by_class, 0 in by_class) == (share > 0.3, share < 0.7)
        if 1 in by_class:
            width, height = by_class[1][2:4]
            assert width * height == pytest.approx(share, rel=1e-5)
            assert by_class[1][5] == 0  # no identity: it is not in the image's sequence


def test_with_mosaic_half_of_the_mixed_images_are_cut() -> None:
    options, rng = replace(OPTIONS, mix=DetectionMix.MOSAIC), np.random.default_rng(3)
    assert (OPTIONS.source_count, options.source_count, RESIZE_ONLY.source_count) == (2, 4, 1)
    params = [detection.sample_params(options, rng) for _ in range(4)]
    images = [detection.augment(options, SIZE, sources(4), params, rng)[0] for _ in range(200)]
    greys = [len(np.unique(image)) for image in images]
    assert set(greys) == {2, 4}
    assert 70 < greys.count(2) < 130


def test_an_image_that_is_not_mixed_stays_whole() -> None:
    params = [detection.sample_params(OPTIONS, np.random.default_rng(4))]
    image, targets = detection.augment(OPTIONS, SIZE, sources(1), params, np.random.default_rng(5))
    assert len(np.unique(image)) == 1
    assert len(targets) == 1
