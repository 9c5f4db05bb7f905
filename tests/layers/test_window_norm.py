"""CBN (``cross_iterations=``) against the formulas of its paper and against torch's derivatives."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darknet_py import cfg
from darknet_py.layers import Shape, StepContext
from darknet_py.layers._convolution import Convolution
from darknet_py.layers._sync_norm import AllReduce
from darknet_py.network import Network
from darknet_py.pruning.pruner import prune
from tests.helpers import random_networks
from tests.layers.test_sync_norm import run_processes

KEYS = {"filters": "6", "size": "3", "batch_normalize": "1", "activation": "linear", "cross_iterations": "3"}
GEOMETRIES = (
    {"pad": "1"},
    {"stride": "2", "groups": "2"},
    {"dilation": "2", "pad": "1"},
    {"groups": "4", "filters": "8"},
)
AFTER_WARM_UP = StepContext(size=(9, 7), iteration=5, burn_in=5)


def convolution(keys: dict[str, str]) -> Convolution:
    layer = random_networks.layer("convolutional", {**KEYS, **keys}, Shape(4, 7, 9))
    assert isinstance(layer, Convolution)
    assert layer.norm is not None
    layer.norm.initialise()
    return layer.double().train()


def images(count: int) -> list[Tensor]:
    rng = torch.Generator().manual_seed(4)
    return [torch.randn(5, 4, 7, 9, generator=rng, dtype=torch.float64) for _ in range(count)]


def plain(layer: Convolution, x: Tensor, weights: Tensor) -> Tensor:
    """The convolution alone."""
    o = layer.options
    return F.conv2d(x, weights, None, layer.strides, o.padding * o.dilation, o.dilation, o.groups)


def change_weights(layer: Convolution, seed: int, size: float = 0.1) -> None:
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weights.add_(size * torch.randn(layer.weights.shape, generator=rng, dtype=torch.float64))


@pytest.mark.parametrize("keys", GEOMETRIES, ids=str)
def test_statistics_are_those_of_the_paper(keys: dict[str, str]) -> None:
    """Slopes: autograd of each filter's statistics by its own weights. The fourth mini-batch forgets the first."""
    layer, xs = convolution(keys), images(4)
    stored: list[tuple[Tensor, ...]] = []
    for number, x in enumerate(xs):
        change_weights(layer, number)
        y = layer(x, context=AFTER_WARM_UP)
        weights = layer.weights.detach().clone().requires_grad_()
        before = plain(layer, x, weights)
        mean, square = before.mean(dim=(0, 2, 3)), before.square().mean(dim=(0, 2, 3))
        slopes = [torch.autograd.grad(part.sum(), weights, retain_graph=True)[0] for part in (mean, square)]
        stored.insert(0, (mean.detach(), square.detach(), slopes[0], slopes[1], weights.detach()))
        del stored[3:]
        means, squares = [], []
        for old_mean, old_square, d_mean, d_square, old in stored:
            moved = weights.detach() - old
            means.append(old_mean + (d_mean * moved).sum(dim=(1, 2, 3)))
            squares.append(old_square + (d_square * moved).sum(dim=(1, 2, 3)))
        window_mean = torch.stack(means).mean(dim=0)
        window_square = torch.stack([torch.maximum(s, m**2) for s, m in zip(squares, means, strict=True)]).mean(dim=0)
        variance = window_square - window_mean**2
        shape = (1, -1, 1, 1)
        expected = (before.detach() - window_mean.view(shape)) / (variance.view(shape) + 1e-5).sqrt()
        torch.testing.assert_close(y.detach(), expected + layer.biases.view(shape))


def test_an_earlier_mean_is_exact_and_the_mean_of_squares_to_the_second_order() -> None:
    """The mean of a convolution is linear in its weights: corrected, it is what the present weights would give."""
    errors = []
    for size in (0.1, 0.05):
        layer, (first, second) = convolution({"pad": "1", "cross_iterations": "2"}), images(2)
        layer(first, context=AFTER_WARM_UP)
        change_weights(layer, 9, size)
        norm = layer.norm
        means, squares, share = norm._earlier(layer.weights.detach())  # type: ignore[union-attr, operator]
        exact = plain(layer, first, layer.weights.detach())
        torch.testing.assert_close(means[0], exact.mean(dim=(0, 2, 3)))
        errors.append(float((squares[0] - exact.square().mean(dim=(0, 2, 3))).abs().max()))
        assert share.tolist() == [0.5, 0.5]
        layer(second, context=AFTER_WARM_UP)
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize("context", [AFTER_WARM_UP, StepContext(size=(9, 7), iteration=4, burn_in=5)])
def test_the_first_mini_batch_and_those_of_the_warm_up_have_their_own_statistics(context: StepContext) -> None:
    layer, xs = convolution({"pad": "1"}), images(3)
    for number, x in enumerate(xs):
        y = layer(x, context=context)
        own = F.batch_norm(plain(layer, x, layer.weights), None, None, training=True) + layer.biases.view(1, -1, 1, 1)
        assert torch.allclose(y, own) == (number == 0 or context is not AFTER_WARM_UP)


def test_the_gradient_is_that_of_the_present_mini_batch() -> None:
    layer, (first, second) = convolution({"pad": "1"}), images(2)
    layer(first, context=AFTER_WARM_UP)
    change_weights(layer, 1)

    def run(x: Tensor) -> Tensor:
        y: Tensor = copy.deepcopy(layer)(x, context=AFTER_WARM_UP)
        return y

    assert torch.autograd.gradcheck(run, second[:2].requires_grad_())


def test_two_processes_have_the_statistics_of_all_images() -> None:
    start, (first, second) = convolution({"pad": "1"}), images(2)
    alone = copy.deepcopy(start)
    alone(first, context=AFTER_WARM_UP)
    change_weights(alone, 1)
    expected = alone(second, context=AFTER_WARM_UP)
    layers = [copy.deepcopy(start) for _ in range(2)]

    def work(rank: int, all_reduce: AllReduce) -> Tensor:
        context = StepContext(size=(9, 7), iteration=5, all_reduce=all_reduce)
        share = slice(0, 2) if rank == 0 else slice(2, 5)
        layers[rank](first[share], context=context)
        change_weights(layers[rank], 1)
        y: Tensor = layers[rank](second[share], context=context)
        return y

    torch.testing.assert_close(torch.cat(run_processes(work)), expected)


def test_the_window_is_part_of_the_state_and_not_of_the_weights() -> None:
    layer, (first, second) = convolution({"pad": "1"}), images(2)
    layer(first, context=AFTER_WARM_UP)
    resumed = convolution({"pad": "1"})
    resumed.load_state_dict(layer.state_dict())
    assert torch.equal(layer(second, context=AFTER_WARM_UP), resumed(second, context=AFTER_WARM_UP))
    assert [name for name, _ in layer.stored()] == ["biases", "scales", "rolling_mean", "rolling_variance", "weights"]


def test_inference_uses_the_rolling_statistics() -> None:
    layer, (x, _) = convolution({"pad": "1"}), images(2)
    layer(x, context=AFTER_WARM_UP)
    assert layer.norm is not None
    expected = F.batch_norm(plain(layer, x, layer.weights), layer.norm.rolling_mean, layer.norm.rolling_variance)
    torch.testing.assert_close(layer.eval()(x), expected + layer.biases.view(1, -1, 1, 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_keeps_the_statistics_in_float32(dtype: torch.dtype) -> None:
    layer, mixed = (convolution({"pad": "1"}).float() for _ in range(2))
    for x in (image.float() for image in images(2)):
        expected = layer(x, context=AFTER_WARM_UP)
        with torch.autocast("cpu", dtype):
            y = mixed(x, context=AFTER_WARM_UP)
        y.sum().backward()
        torch.testing.assert_close(y, expected, rtol=0.1, atol=0.1)
    assert layer.norm is not None
    assert mixed.norm is not None
    torch.testing.assert_close(mixed.norm.rolling_mean, layer.norm.rolling_mean, rtol=0.02, atol=1e-4)
    torch.testing.assert_close(mixed.norm.rolling_variance, layer.norm.rolling_variance, rtol=0.02, atol=1e-4)


def test_a_network_with_a_window_is_pruned() -> None:
    conv = "[conv]\nfilters=32\nsize=3\npad=1\nbatch_normalize=1\ncross_iterations=3\nactivation=leaky\n"
    text = "[net]\nwidth=16\nheight=16\nchannels=3\n" + 2 * conv + "[conv]\nfilters=5\n[avgpool]\n[softmax]\n"
    network = random_networks.randomise(Network(cfg.loads(text)))
    smaller = prune(network, 0.5).network
    assert sum(smaller[n].shape.channels for n in (0, 1)) < 64
    assert not any(bool(value.any()) for name, value in smaller.named_buffers() if "window" in name)


@pytest.mark.parametrize("key", ["batch_normalize=0", "batch_normalize=2", "xnor=1", "dropconnect=.5"])
def test_what_has_no_statistics_of_its_own_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="cross_iterations: expected batch_normalize=1"):
        convolution(dict([key.split("=")]))
