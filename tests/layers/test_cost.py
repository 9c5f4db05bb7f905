"""``[cost]`` against the formulas of C (``blas.c``; of pjreddie's types ``blas_kernels.cu``, ``cost_layer.c``)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from darknet_py.cfg import Dialect
from darknet_py.layers import Layer, Shape, StepContext
from tests.helpers import random_networks

X = torch.tensor([[0.5, -0.25, 2.0, 0.75], [0.0, 0.5, -3.0, 1.0]])
T = torch.tensor([[1.0, 0.0, 0.5, 0.75], [0.0, -0.5, 1.0, 0.0]])


def loss(x: Tensor, t: Tensor, dialect: Dialect = Dialect.PJREDDIE, **keys: object) -> tuple[float, Tensor, float]:
    """Cost, delta and the value whose derivative is minus the delta."""
    options = {key: str(value) for key, value in keys.items()}
    layer: Layer = random_networks.layer("cost", options, Shape(x.shape[1], 1, 1), dialect=dialect)
    result = layer.loss(x, layer(x), t, StepContext(size=(1, 1)))
    return float(result.cost), result.delta, float(result.value)


def test_sse_is_the_squared_difference() -> None:
    cost, delta, value = loss(X, T, type="sse", scale=0.5)
    assert cost == pytest.approx(float((T - X).square().sum()))
    torch.testing.assert_close(delta, 0.5 * (T - X))
    assert value == pytest.approx(0.25 * cost)


def test_smooth_is_linear_from_a_difference_of_1() -> None:
    x, t = torch.tensor([[0.0, 0.0, 0.0, 0.0]]), torch.tensor([[0.5, -3.0, 1.0, 2.0]])
    cost, delta, _ = loss(x, t, type="smooth")
    assert cost == pytest.approx(0.25 + 5 + 1 + 3)
    assert delta.tolist() == [[0.5, -1, 1, 1]]


def test_masked_ignores_unknown_targets() -> None:
    t = torch.tensor([[-1234.0, 1.0, -1234.0, 2.0]])
    cost, delta, _ = loss(torch.zeros(1, 4), t, type="masked")
    assert cost == pytest.approx(5)
    assert delta.tolist() == [[0, 1, 0, 2]]


def test_l1_delta_is_the_sign_of_the_difference() -> None:
    cost, delta, _ = loss(X, T, type="L1")
    assert cost == pytest.approx(float((T - X).abs().sum()))
    assert delta.tolist() == [[1, 1, -1, -1], [-1, -1, 1, -1]]  # a difference of 0 counts as negative


def test_wgan_raises_scores_of_real_images_and_lowers_the_others() -> None:
    cost, delta, _ = loss(X, T, type="wgan")
    assert cost == pytest.approx(sum((-0.5, -0.25, -2.0, -0.75, 0.0, -0.5, 3.0, 1.0)))
    assert delta.tolist() == [[1, -1, 1, 1], [-1, -1, 1, -1]]


def test_seg_weights_the_background_by_noobj() -> None:
    cost, delta, value = loss(X, T, type="seg", noobj=0.1)
    weights = torch.where(T == 0, 0.1, 1.0)
    assert cost == pytest.approx(float((weights * (T - X).square()).sum()))
    torch.testing.assert_close(delta, weights * (T - X))
    assert value == pytest.approx(cost / 2)
    assert torch.equal(loss(X, T, type="sse", noobj=0.1)[1], T - X)  # of seg alone


def test_thresh_drops_small_deltas() -> None:
    """Those below thresh / inputs: 2 / 4 here."""
    _, delta, _ = loss(X, T, type="sse", thresh=2)
    assert delta.tolist() == [[0.5, 0, -1.5, 0], [0, -1, 4, -1]]


@pytest.mark.parametrize("kind", ["L1", "wgan", "seg"])
def test_pjreddies_types_are_sse_for_alexeyab(kind: str) -> None:
    expected = loss(X, T, Dialect.ALEXEYAB, type="sse")
    cost, delta, value = loss(X, T, Dialect.ALEXEYAB, type=kind, noobj=0.1, thresh=2)
    assert (cost, value) == (expected[0], expected[2])
    assert torch.equal(delta, expected[1])


def test_ratio_keeps_the_share_of_the_largest_deltas() -> None:
    """``forward_cost_layer_gpu``: sizes below that at index (1 - ratio) * n of the sorted ones are dropped."""
    generator = torch.Generator().manual_seed(1)
    x, t = torch.rand(4, 50, generator=generator), torch.rand(4, 50, generator=generator)
    _, plain, _ = loss(x, t)
    for ratio in (0.1, 0.25, 1.0):
        _, delta, value = loss(x, t, ratio=ratio)
        threshold = sorted(plain.abs().flatten().tolist())[int((1 - ratio) * 200)]
        assert torch.equal(delta, torch.where(plain.abs() < threshold, 0.0, plain))
        assert int((delta != 0).sum()) == pytest.approx(ratio * 200, abs=1)
        assert value == pytest.approx(float(delta.square().sum()) / 2)
