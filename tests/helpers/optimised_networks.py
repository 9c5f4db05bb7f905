"""Run a network and its optimised form, and compare their outputs and boxes."""

from __future__ import annotations

import torch
from torch import Tensor

import darknet_py
from darknet_py.inference.fused_network import FusedNetwork, optimise
from darknet_py.network import Network

TOLERANCE = 1e-4  # of the outputs' rms
BOX_TOLERANCE = 1e-4


def run(net: Network | FusedNetwork, x: Tensor) -> list[Tensor]:
    """Return the outputs after a reset."""
    net.reset()
    with torch.inference_mode():
        outputs: list[Tensor] = net(x)
    return outputs


def max_relative_error(expected: list[Tensor], outputs: list[Tensor]) -> float:
    """Return the largest RMS difference of an output, relative to the RMS of the expected one."""
    assert [y.shape for y in expected] == [y.shape for y in outputs]
    assert all(y.dtype is torch.float32 for y in outputs)
    worst = [
        (a - b).square().mean().sqrt() / a.square().mean().sqrt().clamp(min=1e-9)
        for a, b in zip(expected, outputs, strict=True)
    ]
    return float(max(worst))


def assert_same(net: Network, x: Tensor) -> None:
    assert max_relative_error(run(net, x), run(optimise(net), x)) < TOLERANCE
    if not net.heads:
        return
    plain, fast = (darknet_py.Detector(net, threshold=0.1, engine=name) for name in ("plain", "torch"))
    for expected, result in zip(plain.batch(x), fast.batch(x), strict=True):
        assert torch.equal(expected.boxes.cls.sort()[0], result.boxes.cls.sort()[0])
        for row, confidence, box in zip(result.boxes.cls, result.boxes.conf, result.boxes.xywhn, strict=True):
            same = (expected.boxes.cls == row) & ((expected.boxes.conf - confidence).abs() < BOX_TOLERANCE)
            error = (expected.boxes.xywhn[same] - box).abs() / (1 + box.abs())
            assert error.amax(dim=1).min() < BOX_TOLERANCE


TEXT = """
[net]
width=16
height=12
channels=3
[conv]
filters=8
size=3
pad=1
batch_normalize=1
activation={before}
[conv]
filters=8
size=3
pad=1
batch_normalize=1
activation={before}
[shortcut]
from=-2
activation={after}
[route]
layers=-1,-2,-3
groups=2
group_id=1
[maxpool]
size=5
stride=1
[conv]
filters=6
groups=2
size=3
stride=2
pad=1
activation=mish
"""
