"""The networks of CSPNet (https://arxiv.org/abs/1911.11929): against the paper's figures, and against plain torch."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from darknet_py import Network, Trainer, cfg, weights
from darknet_py.training.resume import build_network
from tests.helpers import paths, random_networks
from tests.helpers.plain_torch import PlainNetwork, leaky, linear

relu = F.relu

# Name: parameters in millions and BFLOPS at 256 x 256, of the paper's table of ImageNet.
PAPER = {
    "resnext50": (22.19, 10.11),
    "cspresnext50": (20.50, 7.93),
    "cspresnet50": (21.57, 8.97),
    "cspdarknet53": (27.61, 13.07),
}
FORMS = ("dense", "partial", "fusion-first", "fusion-last")


def shrunk(name: str, side: int) -> Network:
    """The network of a cfg for smaller images, with random weights, in eval mode."""
    values = {"width": str(side), "height": str(side)}
    return random_networks.randomise(build_network(paths.CFGS / f"{name}.cfg", values=values, seed=0)).eval()


# ---- figures of the paper


@pytest.mark.parametrize("name", PAPER)
def test_parameters_and_operations_are_the_papers(name: str) -> None:
    network = Network(cfg.load(paths.CFGS / f"{name}.cfg"))
    parameters, bflops = PAPER[name]
    assert network.flops / 1e9 == pytest.approx(bflops, abs=0.0101)
    # The paper's counts are 0.2 to 0.6 % below the number of parameters, by a rule that it does not state.
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(parameters, rel=0.006)


def test_csp_saves_the_papers_share_of_resnext50() -> None:
    flops = [Network(cfg.load(paths.CFGS / f"{name}.cfg")).flops for name in ("resnext50", "cspresnext50")]
    assert [round(value / 1e9, 2) for value in flops] == [10.12, 7.93]
    assert round(100 * (flops[1] / flops[0] - 1)) == -22


def test_csp_saves_a_tenth_of_resnet50() -> None:
    """The paper counts 9.74 BFLOPS for ResNet-50; the cfg of that name in its repository has these."""
    flops = Network(cfg.load(paths.CFGS / "cspresnet50.cfg")).flops
    original = Network(cfg.load(paths.require_shared() / "conformance" / "alexeyab" / "resnet50.cfg")).flops
    assert original / 1e9 == pytest.approx(10.007, abs=0.001)
    assert round(100 * (flops / original - 1)) == -10


def test_parameters_of_densenet121_are_torchvisions_and_darknets_biases() -> None:
    network = Network(cfg.load(paths.CFGS / "densenet121.cfg"))
    biases = 58 * 32 + 128 + 256 + 512  # of the 3 x 3 convolutions and the transitions
    assert sum(p.numel() for p in network.parameters()) == 7_978_856 + biases


def convolution_flops(network: Network) -> float:
    return sum(layer.flops for layer in network if "convolutional" in layer.names)


@pytest.mark.parametrize("name", [*PAPER, "densenet121", "cspdensenet121", *(f"csp/{form}" for form in FORMS)])
def test_operations_are_those_that_torch_counts(name: str) -> None:
    values = {"width": "32", "height": "32"}
    network = build_network(paths.CFGS / f"{name}.cfg", values=values, seed=0).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *network.shape))
    assert counter.get_total_flops() == convolution_flops(network)


def test_each_form_needs_fewer_operations_than_the_dense_stage() -> None:
    flops = {form: Network(cfg.load(paths.CFGS / "csp" / f"{form}.cfg")).flops for form in FORMS}
    assert sorted(flops, key=lambda form: -flops[form]) == list(FORMS)


# ---- plain torch


def shortcut(x: Tensor, skip: Tensor) -> Tensor:
    """Darknet's shortcut: every second cell, and the common channels."""
    step = skip.shape[-1] // x.shape[-1]
    skip = skip[:, :, ::step, ::step]
    common = min(x.shape[1], skip.shape[1])
    total = torch.cat([x[:, :common] + skip[:, :common], x[:, common:]], dim=1)
    return leaky(total)


def resnext50(p: PlainNetwork, x: Tensor) -> Tensor:
    x = F.max_pool2d(p.conv(x, 64, 7, 2), 2)
    for stage, (blocks, c) in enumerate(zip((3, 4, 6, 3), (128, 256, 512, 1024), strict=True)):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = p.conv(p.conv(x, c), c, 3, stride, groups=32)
            x = shortcut(p.conv(y, 2 * c, act=linear), x)
    return classify(p, x, 1000)


def cspresnet50(p: PlainNetwork, x: Tensor) -> Tensor:
    x = F.max_pool2d(p.conv(x, 64, 7, 2), 2)
    for stage, (blocks, c) in enumerate(zip((3, 3, 5, 2), (128, 256, 512, 1024), strict=True)):
        act = linear if stage in (1, 2) else leaky
        if stage:
            x = p.conv(p.conv(x, c // 2), c // 2, 3, 2)
        first = p.conv(x, c, act=act)
        y = p.conv(x, c if stage else 64, act=act)
        for _ in range(blocks):
            y = shortcut(p.conv(p.conv(p.conv(y, c // 2), c // 2, 3), c, act=linear), y)
        x = torch.cat([p.conv(y, c), first], dim=1)
    return classify(p, p.conv(x, 1024), 1000)


def classify(p: PlainNetwork, x: Tensor, classes: int) -> Tensor:
    """The scores before the softmax."""
    return p.conv(x.mean(dim=(2, 3), keepdim=True), classes, norm=False, act=linear).flatten(1)


def dense_block(p: PlainNetwork, x: Tensor, layers: int, growth: int) -> Tensor:
    for _ in range(layers):
        y = p.conv(p.norm(x, relu), 4 * growth, act=relu)
        x = torch.cat([x, p.conv(y, growth, 3, norm=False, act=linear)], dim=1)
    return x


def transition(p: PlainNetwork, x: Tensor, channels: int) -> Tensor:
    return p.conv(p.norm(x, relu), channels, norm=False, act=linear)


def stage(p: PlainNetwork, x: Tensor, layers: int, growth: int, form: str, divisor: int = 2) -> Tensor:
    """A dense stage or one of the three forms with a bypass, up to its last convolution or concatenation."""
    base = x.shape[1]
    out = (base + layers * growth) // divisor
    if form == "dense":
        return transition(p, dense_block(p, x, layers, growth), out)
    bypass, x = x.chunk(2, dim=1)
    x = dense_block(p, x, layers, growth)
    if form == "fusion-first":
        return transition(p, torch.cat([bypass, x], dim=1), out)
    if form == "fusion-last":
        return torch.cat([bypass, transition(p, x, out - base // 2)], dim=1)
    return transition(p, torch.cat([bypass, transition(p, x, x.shape[1] // 2)], dim=1), out)


def densenet121(p: PlainNetwork, x: Tensor, csp: bool = False) -> Tensor:
    x = F.max_pool2d(p.conv(x, 64, 7, 2, act=relu), 3, 2, 1)
    for layers in (6, 12, 24, 16):
        last = layers == 16
        if csp:
            x = stage(p, x, layers, 32, "partial", 1 if last else 2)
        else:
            x = dense_block(p, x, layers, 32) if last else stage(p, x, layers, 32, "dense")
        x = x if last else F.avg_pool2d(x, 2)
    return classify(p, p.norm(x, relu), 1000)


def small(p: PlainNetwork, x: Tensor, form: str) -> Tensor:
    x = p.conv(x, 32, 3, 2, norm=False, act=linear)
    x = F.avg_pool2d(stage(p, x, 6, 8, form), 2)
    return classify(p, p.norm(stage(p, x, 6, 8, form), relu), 10)


PLAIN: dict[str, Callable[[PlainNetwork, Tensor], Tensor]] = {
    "resnext50": resnext50,
    "cspresnet50": cspresnet50,
    "densenet121": densenet121,
    "cspdensenet121": partial(densenet121, csp=True),
    **{f"csp/{form}": partial(small, form=form) for form in FORMS},
}


@pytest.mark.parametrize("name", PLAIN)
def test_forward_equals_plain_torch(name: str, tmp_path: pathlib.Path) -> None:
    network = shrunk(name, 64 if "/" not in name else 32)
    weights.save(network, tmp_path / "x.weights")
    plain = PlainNetwork(tmp_path / "x.weights", PLAIN[name]).eval()
    x = random_networks.random(2, *network.shape, low=0)
    with torch.inference_mode():
        actual = network.features(x, [-2])[0].flatten(1)
        expected = plain(x)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.square().mean().sqrt()))
        torch.testing.assert_close(network(x)[0].flatten(1), expected.softmax(dim=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "name", [name if "/" in name else pytest.param(name, marks=pytest.mark.slow) for name in PLAIN]
)
def test_a_training_step_equals_plain_torch(name: str, tmp_path: pathlib.Path) -> None:
    """Cross-entropy, SGD with weight decay of the weights only, and batch norm's statistics."""
    lr, decay, count = 1.0, 0.0005, 8  # a large step, so that it is far above the tolerance in all weights
    values = {"batch": str(count), "learning_rate": str(lr), "decay": str(decay), "policy": "constant", "burn_in": "0"}
    side = "32" if "/" in name else "64"
    values |= {"width": side, "height": side, "subdivisions": "1", "momentum": "0.9"}
    network = random_networks.randomise(build_network(paths.CFGS / f"{name}.cfg", values=values, seed=0))
    weights.save(network, tmp_path / "x.weights")
    plain = PlainNetwork(tmp_path / "x.weights", PLAIN[name]).train()
    x, digits = random_networks.random(count, *network.shape, low=0), torch.arange(count)
    Trainer(network).step([(x, F.one_hot(digits, network[-1].shape.channels).float())])

    loss = F.cross_entropy(plain(x), digits)
    before = [w.detach().clone() for w in plain.weights]
    decayed = {id(p) for p in plain.weights}
    others = [p for p in plain.parameters() if id(p) not in decayed]
    groups: list[dict[str, Any]] = [{"params": plain.weights, "weight_decay": decay}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9)
    loss.backward()
    optimizer.step()
    weights.save(network.eval(), tmp_path / "y.weights")
    after = PlainNetwork(tmp_path / "y.weights", PLAIN[name]).eval()
    with torch.inference_mode():
        after(x)
    for (key, actual), expected in zip(after.state_dict().items(), plain.state_dict().values(), strict=True):
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5, msg=key)
    least = min(float((old - new.detach()).abs().max()) for old, new in zip(before, plain.weights, strict=True))
    assert least > 1e-3  # a hundred times the tolerance
