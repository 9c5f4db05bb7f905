"""Backbones: the maps of the network's own layers, chosen by resolution or by number."""

from __future__ import annotations

import pytest
import torch

import darknet_py as dk
from darknet_py.backbones import Backbone
from darknet_py.errors import DarknetError
from tests.helpers import paths

CFGS = paths.ROOT / "cfgs"


def test_features_are_what_hooks_see() -> None:
    net = dk.load(CFGS / "digits.cfg", CFGS / "digits.weights")
    x = torch.rand(2, 3, 96, 96)
    seen: dict[int, torch.Tensor] = {}
    for index in (18, 3):
        net[index].register_forward_hook(lambda _layer, _inputs, output, index=index: seen.update({index: output}))
    with torch.no_grad():
        net(x)
        maps = net.features(x, [18, 3, -1])
    assert torch.equal(maps[0], seen[18])
    assert torch.equal(maps[1], seen[3])
    assert torch.equal(maps[2], net(x)[-1])
    with pytest.raises(IndexError):
        net.features(x, [29])


@pytest.mark.parametrize(
    ("name", "layers", "channels", "strides"),
    [
        ("cspdarknet53", [0, 10, 23, 54, 85, 104], [32, 64, 128, 256, 512, 1024], [1, 2, 4, 8, 16, 32]),
        ("yolov3-tiny", [0, 2, 4, 6, 8, 14], [16, 32, 64, 128, 256, 512], [1, 2, 4, 8, 16, 32]),
        ("digits", [0, 7, 15, 19], [16, 48, 128, 96], [2, 4, 8, 16]),
    ],
)
def test_the_last_layer_of_each_resolution_is_returned(
    name: str, layers: list[int], channels: list[int], strides: list[int]
) -> None:
    body = dk.backbone(CFGS / f"{name}.cfg", size=(64, 96))
    assert [info.layer for info in body.feature_info] == layers
    maps = body(torch.rand(1, 3, 96, 64))
    for info, feature, count, stride in zip(body.feature_info, maps, channels, strides, strict=True):
        assert (info.channels, info.stride) == (count, stride)
        assert feature.shape == (1, count, 96 // stride, 64 // stride)


def test_a_backbone_has_its_own_weights_and_only_those() -> None:
    net = dk.load(CFGS / "digits.cfg", CFGS / "digits.weights").double()
    body = Backbone(net, [18, -12])
    assert [info.layer for info in body.feature_info] == [18, 17]
    assert len(body.network.layers) == 19
    x = torch.rand(1, 3, 96, 96, dtype=torch.float64)
    with torch.no_grad():
        before = net.features(x, [18, 17])
        for parameter in net.parameters():
            parameter.zero_()
        assert all(torch.equal(one, other) for one, other in zip(body(x), before, strict=True))


@pytest.mark.parametrize("layers", [[], [29], [-30]])
def test_layers_that_are_not_there_are_refused(layers: list[int]) -> None:
    with pytest.raises(DarknetError, match=r"out_layers: expected numbers of layers in 0\.\.28"):
        dk.backbone(CFGS / "digits.cfg", out_layers=layers)
