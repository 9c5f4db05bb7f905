"""What tests of optimised networks share: runs of both, how far apart they are, and a network to start from."""

from __future__ import annotations

import torch
from torch import Tensor

import darknet_py
from darknet_py.inference.fused_network import FusedNetwork, optimise
from darknet_py.network import Network

TOLERANCE = 1e-4  # of the outputs' rms
BOX_TOLERANCE = 1e-4


def run(net: Network | FusedNetwork, x: Tensor) -> list[Tensor]:
    """The outputs, from a fresh state."""
    net.reset()
    with torch.inference_mode():
        outputs: list[Tensor] = net(x)
    return outputs


def apart(expected: list[Tensor], found: list[Tensor]) -> float:
    """The largest difference over the outputs, relative to their rms."""
    assert [y.shape for y in expected] == [y.shape for y in found]
    assert all(y.dtype is torch.float32 for y in found)
    worst = [
        (a - b).square().mean().sqrt() / a.square().mean().sqrt().clamp(min=1e-9)
        for a, b in zip(expected, found, strict=True)
    ]
    return float(max(worst))


def assert_same(net: Network, x: Tensor) -> None:
    assert apart(run(net, x), run(optimise(net), x)) < TOLERANCE
    if not net.heads:
        return
    plain, fast = (darknet_py.Detector(net, threshold=0.1, engine=name) for name in ("plain", "torch"))
    for expected, found in zip(plain.batch(x), fast.batch(x), strict=True):
        assert torch.equal(expected.boxes.cls.sort()[0], found.boxes.cls.sort()[0])
        for row, confidence, box in zip(found.boxes.cls, found.boxes.conf, found.boxes.xywhn, strict=True):
            mine = (expected.boxes.cls == row) & ((expected.boxes.conf - confidence).abs() < BOX_TOLERANCE)
            off = (expected.boxes.xywhn[mine] - box).abs() / (1 + box.abs())
            assert off.amax(dim=1).min() < BOX_TOLERANCE


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
