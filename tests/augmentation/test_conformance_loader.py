"""Training images and boxes equal those of C Darknet's loader, bit for bit, for the random numbers that it drew."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from darknet_py.augmentation import colour, detection
from darknet_py.augmentation.detection import DetectionAugmentation, DetectionMix, SampledParams
from darknet_py.data.labels import TargetArray
from darknet_py.images.reading import ImageArray

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "loader.npz")
MIXES = {0: DetectionMix.NONE, 1: DetectionMix.MIXUP, 3: DetectionMix.MOSAIC}  # by C's use_mixup
CALLS = sorted(key.removesuffix("_draws") for key in GOLDEN.files if key.endswith("_draws"))


class RecordedIntegers:
    """A random number generator that returns recorded integers."""

    def __init__(self, values: list[int]) -> None:
        self.values = values

    def integers(self, low: Any, high: Any = None, size: int | None = None, endpoint: bool = False) -> Any:
        count = size or (len(low) if isinstance(low, tuple) else 1)
        taken, self.values = self.values[:count], self.values[count:]
        return taken[0] if size is None and count == 1 else np.array(taken)


def load(call: str) -> tuple[DetectionAugmentation, list[tuple[ImageArray, TargetArray]], list[SampledParams]]:
    mix, flip, jitter, resize, letter_box, bound = GOLDEN[f"{call.rpartition('_')[0]}_options"].tolist()
    augmentation = DetectionAugmentation(
        jitter=jitter,
        resize=resize,
        flip=bool(flip),
        mix=MIXES[int(mix)],
        mosaic_bound=bool(bound),
        letter_box=bool(letter_box),
        max_objects=30,
    )
    rows = GOLDEN[f"{call}_draws"]
    sources = [(GOLDEN[f"image_{int(row[0])}"], GOLDEN[f"labels_{int(row[0])}"]) for row in rows]
    params = [SampledParams(tuple(row[1:5]), tuple(row[5:7]), bool(row[7]), colour.NO_SHIFT, 0, 0) for row in rows]
    return augmentation, sources, params


@pytest.mark.parametrize("call", CALLS)
def test_images_and_boxes_equal_cs(call: str) -> None:
    augmentation, sources, params = load(call)
    expected = GOLDEN[f"{call}_pixels"]
    rng: Any = RecordedIntegers(GOLDEN[f"{call}_integers"].tolist())
    image, targets = detection.augment(augmentation, (expected.shape[1], expected.shape[0]), sources, params, rng)
    assert not rng.values
    scale = 2 if augmentation.mix is DetectionMix.MIXUP else 1
    assert np.array_equal(np.rint(image.transpose(1, 2, 0) * 255 * scale), expected)
    assert np.array_equal(targets, GOLDEN[f"{call}_boxes"])


def test_windows_of_the_recorded_calls_are_empty_in_some() -> None:
    """C prints "invalid resize" for them."""
    augmentation = load("empty_0")[0]
    windows = [
        detection.compute_window(augmentation, params, image.shape[1], image.shape[0])
        for call in CALLS
        if call.startswith("empty")
        for (image, _), params in zip(*load(call)[1:], strict=True)
    ]
    assert 3 <= sum(window.is_empty for window in windows) < len(windows)
