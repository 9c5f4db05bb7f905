"""``Trainer.step``: weights against C Darknet, the update rules, frozen layers, resuming."""

from __future__ import annotations

import gzip
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import darknet_py
from darknet_py import Trainer, TrainOptions, cfg
from darknet_py.errors import ConfigError, DataError
from darknet_py.network import Network
from tests.helpers import training_references

HEADER = 20
COSTS: dict[str, list[float]] = json.loads((training_references.FOLDER / "costs.json").read_text())

NET = """[net]
width=16
height=16
channels=3
batch=4
learning_rate=0.1
momentum=0.9
decay=0.0005
max_batches=100
"""
CONV = "[convolutional]\nfilters={}\nsize=3\npad=1\nstride=2\nactivation=leaky\n"
END = "[avgpool]\n[softmax]\n"


def built(*sections: str, net: str = "") -> Network:
    torch.manual_seed(1)
    return Network(cfg.loads(NET + net + "".join(sections))).initialise()


def batch(rows: int = 4, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(rows, 3, 16, 16, generator=rng), torch.eye(classes)[torch.arange(rows) % classes]


def weights(net: Network) -> list[Tensor]:
    return [tensor.detach().clone() for layer in net for _, tensor in layer.stored()]


def moved(net: Network, before: list[Tensor]) -> list[bool]:
    """Per layer whether any parameter differs."""
    at, result = 0, []
    for layer in net:
        count = len(list(layer.stored()))
        now = [tensor for _, tensor in layer.stored()]
        result.append(any(not torch.equal(a, b) for a, b in zip(now, before[at : at + count], strict=True)))
        at += count
    return result


@pytest.mark.parametrize("name", training_references.NAMES)
def test_weights_are_those_of_c(name: str, tmp_path: pathlib.Path) -> None:
    net = training_references.network(name)
    darknet_py.save_weights(net, tmp_path / "start.weights")
    start = np.fromfile(tmp_path / "start.weights", "<f4", offset=HEADER)
    trainer = Trainer(net, gradients="darknet-cpu" if name == "cells" else "darknet")  # CPU code limits no gradient
    costs = [trainer.step(pairs) for pairs in training_references.mini_batches(name, net)]
    np.testing.assert_allclose(costs, COSTS[name], rtol=1e-4)
    darknet_py.save_weights(net, tmp_path / "end.weights")
    mine = np.fromfile(tmp_path / "end.weights", "<f4", offset=HEADER)
    final = np.frombuffer(
        gzip.decompress((training_references.FOLDER / f"{name}.weights.gz").read_bytes())[HEADER:], "<f4"
    )
    assert np.linalg.norm(mine - final) <= 2e-4 * np.linalg.norm(final - start)


def test_gradients_add_up_over_subdivisions() -> None:
    results = []
    for parts in (1, 2, 4):
        net = built(CONV.format(6), CONV.format(5), END)
        trainer = Trainer(net)
        for seed in range(3):
            x, t = batch(seed=seed)
            trainer.step(list(zip(x.chunk(parts), t.chunk(parts), strict=True)))
        results.append(torch.cat([w.flatten() for w in weights(net)]))
    assert torch.allclose(results[0], results[1], atol=1e-6)
    assert torch.allclose(results[0], results[2], atol=1e-6)


def test_the_update_is_sgd_of_the_mean_gradient() -> None:
    net, other = built(CONV.format(6), CONV.format(5), END), built(CONV.format(6), CONV.format(5), END)
    trainer = Trainer(net, gradients="autograd")
    decayed = [p for name, p in other.named_parameters() if name.endswith("weights")]
    plain = [p for name, p in other.named_parameters() if not name.endswith("weights")]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": 0.0005}, {"params": plain}]
    sgd = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    for seed in range(4):
        x, t = batch(seed=seed)
        trainer.step([(x, t)])
        sgd.zero_grad()
        (-(t * other(x)[0].flatten(1).log()).sum() / len(x)).backward()
        sgd.step()
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_adam_follows_darknets_formula() -> None:
    net = built(CONV.format(5), END, net="adam=1\n")
    first, gradients = next(net.parameters()), list[Tensor]()
    p = first.detach().clone()
    m, v = torch.zeros_like(p), torch.zeros_like(p)

    def keep() -> None:
        assert first.grad is not None
        gradients.append(first.grad.clone())

    trainer = Trainer(net)
    trainer.before_update = keep
    for t in range(1, 4):
        trainer.step([batch(seed=t)])
        d = -gradients[-1] - 0.0005 * 4 * p
        m, v = 0.9 * m + 0.1 * d, 0.999 * v + 0.001 * d * d
        p = p + 0.1 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-6)
    assert torch.allclose(first, p, atol=1e-5)


FREEZES: list[tuple[str, dict[str, Any], list[bool]]] = [
    ("", {}, [True, True, True]),
    ("", {"freeze": 2}, [False, False, True]),
    ("stopbackward=1\n", {}, [False, False, True]),
    ("stopbackward=9\n", {}, [False, False, True]),
    ("train_only_bn=1\n", {}, [False, False, True]),
    ("dont_update=1\n", {}, [True, False, True]),
    ("dont_update=0\n", {}, [True, True, True]),
    ("burnin_update=2\n", {}, [True, False, True]),
    ("onlyforward=1\n", {}, [False, False, True]),
    ("learning_rate=0\n", {}, [True, False, True]),
]


@pytest.mark.parametrize(("key", "options", "expected"), FREEZES)
def test_layers_that_do_not_learn(key: str, options: dict[str, Any], expected: list[bool]) -> None:
    net = built(CONV.format(6), CONV.format(6) + key, CONV.format(5), END, net="burn_in=3\n")
    before = weights(net)
    Trainer(net, options=TrainOptions(**options)).step([batch()])
    assert moved(net, before)[:3] == expected


def test_a_temporary_stopbackward_ends() -> None:
    net = built(CONV.format(6), CONV.format(6) + "stopbackward=2\n", CONV.format(5), END)
    trainer, seen = Trainer(net), []
    for _ in range(3):
        before = weights(net)
        trainer.step([batch()])
        seen.append(moved(net, before)[0])
    assert seen == [False, False, True]


def test_frozen_layers_keep_their_statistics() -> None:
    normed = CONV.format(6) + "batch_normalize=1\n"
    net = built(normed, normed, CONV.format(5), END)
    before = weights(net)
    Trainer(net, options=TrainOptions(freeze=1)).step([batch()])
    assert moved(net, before)[:2] == [False, True]


def test_clip_limits_weights() -> None:
    net = built(CONV.format(6) + "clip=0.01\n", CONV.format(5), END)
    Trainer(net).step([batch()])
    (largest,) = [float(array.detach().abs().max()) for name, array in net[0].stored() if name == "weights"]
    assert largest == pytest.approx(0.01)


def test_resuming_gives_the_same_weights() -> None:
    whole, first = built(CONV.format(6), CONV.format(5), END), built(CONV.format(6), CONV.format(5), END)
    second = built(CONV.format(6), CONV.format(5), END)
    one, two = Trainer(whole), Trainer(first)
    for seed in range(4):
        one.step([batch(seed=seed)])
        if seed < 2:
            two.step([batch(seed=seed)])
    second.load_state_dict(first.state_dict())
    three = Trainer(second)
    three.load_state_dict(two.state_dict())
    for seed in (2, 3):
        three.step([batch(seed=seed)])
    assert (three.iteration, three.lr, second.seen) == (one.iteration, one.lr, whole.seen)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))


def test_a_step_restores_the_mode_of_the_network() -> None:
    net = built(CONV.format(6) + "batch_normalize=2\n", CONV.format(5) + "stopbackward=1\n", END)
    Trainer(net).step([batch()])
    assert not net.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert net.seen == 4


def test_the_ema_starts_after_half_of_training() -> None:
    net = built(CONV.format(5), END, net="ema_alpha=0.5\n")
    trainer = Trainer(net)
    trainer.iteration = 49
    trainer.step([batch()])
    assert all(torch.equal(a, b) for a, b in zip(trainer.ema.tensors or [], net.parameters(), strict=True))


def test_scale_wh_gradients_are_those_of_cuda() -> None:
    gates = "[conv]\nfilters=1\nsize=1\nactivation=linear\n[scale_channels]\nfrom=-2\nscale_wh=1\n"
    steps = []
    for gradients in ("darknet", "darknet-cpu"):
        net = built(CONV.format(6), gates, CONV.format(5), END)
        before = weights(net)
        Trainer(net, gradients=gradients).step([batch()])
        steps.append([after - first for after, first in zip(weights(net), before, strict=True)])
    decay = 0.1 * 0.0005 * before[3]
    assert torch.allclose(steps[0][2], steps[1][2] / 64, rtol=1e-4)  # the gate's biases; 8 x 8 places
    assert torch.allclose(steps[0][3] + decay, (steps[1][3] + decay) / 64, atol=1e-7)
    assert torch.allclose(steps[0][5], steps[1][5], rtol=1e-5)


def test_invalid_arguments_are_refused() -> None:
    net, (x, t) = built(CONV.format(5), END), batch()
    actions: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: Trainer(net, gradients="roughly"), ConfigError, "darknet-cpu"),
        (lambda: Trainer(net, options=TrainOptions(freeze=9)), ConfigError, "number of layers"),
        (lambda: Trainer(built(CONV.format(5))), ConfigError, "no layer of the network has a loss"),
        (lambda: Trainer(net).step([]), DataError, "subdivision"),
        (lambda: Trainer(net).step([(x, t[:3])]), DataError, "3 targets for 4 images"),
    ]
    for action, error, text in actions:
        with pytest.raises(error, match=text):
            action()
