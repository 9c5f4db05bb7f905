"""Views of an image for ``classifier valid10`` and ``validmulti`` (``classifier.c``)."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from darknet_py import cfg
from darknet_py.evaluation.accuracy import EvalTransform, evaluate_accuracy
from darknet_py.images import resizing
from darknet_py.images.reading import read_image
from darknet_py.network import Network

CFG = """[net]
width=40
height=24
channels=3
[convolutional]
filters=3
size=1
activation=linear
[avgpool]
[softmax]
"""
WIDTH, HEIGHT = 40, 24


@pytest.fixture
def image(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "cat.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(path)
    return path


def views(image: pathlib.Path, view: EvalTransform) -> list[Tensor]:
    """The inputs of the network for an image, view by view."""
    network = Network(cfg.loads(CFG)).initialise()
    seen: list[Tensor] = []

    def keep(_network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.extend(inputs[0].clone())

    network.register_forward_pre_hook(keep)
    list(evaluate_accuracy(network, [str(image)], ["cat", "dog", "hen"], view=view, workers=0, engine="plain"))
    return seen


def crop(image: Tensor, dx: int, dy: int) -> Tensor:
    """Crop as ``crop_image`` does: pixels outside the image repeat its edge."""
    _, height, width = image.shape
    out = torch.empty(3, HEIGHT, WIDTH)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            y, x = min(max(row + dy, 0), height - 1), min(max(column + dx, 0), width - 1)
            out[:, row, column] = image[:, y, x]
    return out


def test_ten_views_are_five_crops_and_those_of_the_mirror_image(image: pathlib.Path) -> None:
    whole = resizing.resize(resizing.to_tensor(read_image(image)), WIDTH + 32, HEIGHT + 32)
    shifts = [(-32, -32), (32, -32), (0, 0), (-32, 32), (32, 32)]
    expected = [crop(one, dx, dy) for one in (whole, whole.flip(2)) for dx, dy in shifts]
    seen = views(image, EvalTransform.TEN)
    assert len(seen) == 10
    for one, other in zip(seen, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_multi_has_five_sizes_and_their_mirror_images(image: pathlib.Path) -> None:
    planes = resizing.to_tensor(read_image(image))
    sizes = [(side * 70 // 50, side) for side in (224, 288, 320, 352, 384)]
    whole = [resizing.resize(planes, width, height) for width, height in sizes]
    expected = {tuple(one.shape): (one, one.flip(2)) for one in whole}
    seen = views(image, EvalTransform.MULTI)
    assert len(seen) == 10
    for shape, pair in expected.items():
        both = [one for one in seen if tuple(one.shape) == shape]
        for one, other in zip(both, pair, strict=True):
            torch.testing.assert_close(one, other)
