"""``[crop]`` in training, against the loops of ``levels_image_kernel`` and ``forward_crop_layer_kernel``."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
import torch

from darknet_py.layers import Shape
from darknet_py.layers.crop import Crop
from tests.helpers import random_networks

KEYS = {"crop_height": "4", "crop_width": "5", "flip": "1", "angle": "20", "saturation": "1.7", "exposure": "1.4"}
Array = np.ndarray


def change_colours(image: Array, uniform: Array, shifts: Array, options: Crop.Options) -> Array:
    saturation, exposure = uniform[0] * (options.saturation - 1) + 1, uniform[2] * (options.exposure - 1) + 1
    saturation, exposure = (1 / a if b > 0.5 else a for a, b in ((saturation, uniform[1]), (exposure, uniform[3])))
    result = image.copy()
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            h, s, v = colorsys.rgb_to_hsv(*image[:, y, x])
            p = [v * exposure * (1 - s * saturation * k) for k in (1, (h * 6) % 1, 1 - (h * 6) % 1)]
            v *= exposure
            six = ((v, p[2], p[0]), (p[1], v, p[0]), (p[0], v, p[2]), (p[0], p[1], v), (p[2], p[0], v), (v, p[0], p[1]))
            rgb = np.clip(six[int(h * 6) % 6], 0, 1)
            result[:, y, x] = (rgb if options.noadjust else rgb * 2 - 1) + (shifts[:3] - 0.5) * options.shift
    return result


def crop_at_random(image: Array, uniform: Array, options: Crop.Options) -> Array:
    _, h, w = image.shape
    dw, dh = (w - options.crop_width) * uniform[4], (h - options.crop_height) * uniform[5]
    angle = math.radians(options.angle) * (2 * uniform[7] - 1)
    result = np.zeros((3, options.crop_height, options.crop_width))
    for i in range(options.crop_height):
        for j in range(options.crop_width):
            x = (w - dw - j - 1 if options.flip and uniform[6] > 0.5 else j + dw) - w / 2
            y = i + dh - h / 2
            rx = math.cos(angle) * x - math.sin(angle) * y + w / 2
            ry = math.sin(angle) * x + math.cos(angle) * y + h / 2
            for dx in (0, 1):
                for dy in (0, 1):
                    column, row = math.floor(rx) + dx, math.floor(ry) + dy
                    if 0 <= column < w and 0 <= row < h:
                        share = (1 - abs(rx - column)) * (1 - abs(ry - row))
                        result[:, i, j] += share * image[:, row, column]
    return result


@pytest.mark.parametrize("more", [{}, {"noadjust": "1"}, {"shift": ".3"}, {"flip": "0", "angle": "0"}])
def test_random_crops_follow_the_cuda_code(more: dict[str, str]) -> None:
    layer = random_networks.layer("crop", {**KEYS, **more}, Shape(3, 7, 9)).train()
    assert isinstance(layer, Crop)
    x = torch.rand(4, 3, 7, 9, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    uniforms = torch.rand(4, 8)
    expected = [
        crop_at_random(change_colours(image, uniform, uniforms.numpy()[0], layer.options), uniform, layer.options)
        for image, uniform in zip(x.double().numpy(), uniforms.numpy(), strict=True)
    ]
    torch.manual_seed(5)
    np.testing.assert_allclose(layer(x).numpy(), np.stack(expected), atol=2e-5)


def test_eval_mode_crops_the_centre() -> None:
    layer = random_networks.layer("crop", KEYS, Shape(3, 7, 9)).eval()
    x = torch.rand(2, 3, 7, 9)
    assert torch.equal(layer(x), x[:, :, 1:5, 2:7] * 2 - 1)
