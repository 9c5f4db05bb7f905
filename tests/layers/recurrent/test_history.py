"""``[history]``: a call with one frame has no history; with several, each frame is followed by the earlier ones."""

from __future__ import annotations

import torch

from darknet_py.layers import Shape, StepContext
from darknet_py.layers.recurrent.history import History
from tests.helpers import random_networks


def frames(count: int) -> StepContext:
    return StepContext(size=(3, 3), time_steps=count)


def history(size: int) -> History:
    layer = random_networks.layer("history", {"history_size": str(size)}, Shape(2, 3, 3))
    assert isinstance(layer, History)
    return layer


def test_one_frame_per_call_has_no_history() -> None:
    layer, x = history(3), random_networks.random(2, 2, 3, 3)
    for _ in range(2):
        y = layer(x)
        assert torch.equal(y[:, :2], x)
        assert not y[:, 2:].any()


def test_several_frames_are_newest_first() -> None:
    layer, x = history(3), random_networks.random(4, 2, 3, 3)
    y, zero = layer(x, context=frames(4)), torch.zeros(2, 3, 3)
    expected = [(x[0], zero, zero), (x[1], x[0], zero), (x[2], x[1], x[0]), (x[3], x[2], x[1])]
    assert torch.equal(y, torch.stack([torch.cat(rows) for rows in expected]))
    assert torch.equal(layer(x, context=frames(4))[0], torch.cat((x[0], x[3], x[2]))), (
        "the next call continues with the last frames"
    )
    layer.reset()
    assert torch.equal(layer(x, context=frames(4)), y)


def test_batches_are_time_major() -> None:
    layer = history(2)
    a, b = random_networks.random(2, 2, 3, 3, seed=1), random_networks.random(2, 2, 3, 3, seed=2)
    y = layer(torch.cat((a, b)), context=frames(2))
    assert torch.equal(y[2:], torch.cat((b, a), dim=1))
