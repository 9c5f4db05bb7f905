"""Batch norm of channels-last maps against float64, torch's own, and torch's of contiguous maps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darknet_py.layers import _channels_last_norm
from darknet_py.layers._channels_last_norm import channels_last_batch_norm, supports
from darknet_py.layers._norm import EPSILON, MOMENTUM, Norm

SHAPES = [(8, 32, 104, 104), (8, 64, 26, 26), (1, 7, 75, 75), (1, 5, 71, 73), (8, 3, 1024, 1)]


def make(shape: tuple[int, ...], seed: int, mean: float = 1.0) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2 + mean
    return x.contiguous(memory_format=torch.channels_last)


def norm(channels: int) -> Norm:
    norm = Norm(channels)
    norm.initialise()
    torch.nn.init.uniform_(norm.scales, 0.5, 2.0, generator=torch.Generator().manual_seed(2))
    return norm


def run(norm: Norm, x: Tensor, reader: Tensor) -> tuple[Tensor, ...]:
    """Output, gradients of input, scales and biases, and the rolling statistics."""
    x = x.detach().requires_grad_()
    biases = torch.linspace(-1, 1, x.shape[1]).requires_grad_()
    y = norm(x, biases)
    y.backward(reader)
    assert x.grad is not None
    assert biases.grad is not None
    assert norm.scales.grad is not None
    return y.detach(), x.grad, norm.scales.grad, biases.grad, norm.rolling_mean, norm.rolling_variance


def in_float64(norm: Norm, x: Tensor, reader: Tensor) -> tuple[Tensor, ...]:
    channels = x.shape[1]
    x, reader = (t.double().contiguous() for t in (x, reader))
    x.requires_grad_()
    scales = norm.scales.detach().double().requires_grad_()
    biases = torch.linspace(-1, 1, channels).double().requires_grad_()
    rolling = torch.zeros(2, channels, dtype=torch.float64)
    y = F.batch_norm(x, rolling[0], rolling[1], scales, biases, True, MOMENTUM, EPSILON)
    y.backward(reader)
    assert x.grad is not None
    assert scales.grad is not None
    assert biases.grad is not None
    return y.detach(), x.grad, scales.grad, biases.grad, rolling[0], rolling[1]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_as_exact_as_of_contiguous_maps(shape: tuple[int, ...]) -> None:
    x, reader = make(shape, 0), make(shape, 1, mean=0.0)
    assert supports(x)
    found = run(norm(shape[1]), x, reader)
    contiguous = run(norm(shape[1]), x.contiguous(), reader.contiguous())
    for value, other, expected in zip(found, contiguous, in_float64(norm(shape[1]), x, reader), strict=True):
        rms = float(expected.square().mean().sqrt())
        errors = [float((each - expected).square().mean().sqrt()) for each in (value, other)]
        assert errors[0] <= 3 * errors[1] + 3e-7 * rms
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    assert found[1].is_contiguous(memory_format=torch.channels_last)


def test_torch_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason for the module; when this fails, it can go."""
    monkeypatch.setattr(_channels_last_norm, "supports", lambda _: False)
    shape = SHAPES[0]
    x, reader = make(shape, 0), make(shape, 1, mean=0.0)
    found, expected = run(norm(shape[1]), x, reader), in_float64(norm(shape[1]), x, reader)
    errors = [
        float((value - wanted).abs().max() / wanted.abs().max()) for value, wanted in zip(found, expected, strict=True)
    ]
    assert max(errors) > 5e-6


def test_a_gradient_of_another_format_is_read() -> None:
    x, reader = make(SHAPES[1], 0), make(SHAPES[1], 1)
    for value, other in zip(
        run(norm(64), x, reader.contiguous()), run(norm(64), x, reader.expand_as(reader)), strict=True
    ):
        assert torch.equal(value, other)


def test_the_gradient_is_that_of_finite_differences() -> None:
    x = make((2, 3, 4, 6), 0).double().requires_grad_()
    scales, biases = (torch.rand(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(
        lambda x, scales, biases: channels_last_batch_norm(x, scales, biases, None, MOMENTUM, EPSILON),
        (x, scales, biases),
    )


@pytest.mark.parametrize("x", [make((4, 64, 8, 8), 0), make((8, 32, 26, 26), 0).contiguous(), make((1, 1, 64, 64), 0)])
def test_small_and_contiguous_maps_are_torchs(x: Tensor) -> None:
    assert not supports(x)


def test_one_cell_in_a_part() -> None:
    """The sizes of the tests above have more; so few cells are torch's, unless somebody lowers the limit."""
    x = make((2, 3, 1, 2), 0)
    scales, biases = torch.ones(3), torch.zeros(3)
    expected = F.batch_norm(x.double(), None, None, scales.double(), biases.double(), True, 0.0, EPSILON)
    y = channels_last_batch_norm(x, scales, biases, None, MOMENTUM, EPSILON)
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-6)
