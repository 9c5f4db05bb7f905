"""Synchronised batch norm of two processes, run as threads, against one process with all images."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darknet_py.layers import Gradients, StepContext
from darknet_py.layers._norm import Norm
from darknet_py.layers._sync_norm import AllReduce, sync_batch_norm

SHARES = (3, 5)  # images of each process


def run_processes(work: Callable[[int, AllReduce], Any]) -> list[Any]:
    """Run ``work(rank, all_reduce)`` in two threads, whose all_reduce sums over both, and return their results."""
    barrier = threading.Barrier(2, timeout=20)
    given: dict[int, Tensor] = {}
    results: dict[int, Any] = {}

    def all_reduce(rank: int, tensor: Tensor) -> Tensor:
        given[rank] = tensor.detach().clone()
        barrier.wait()
        total = given[0] + given[1]
        barrier.wait()
        return total

    def run(rank: int) -> None:
        try:
            results[rank] = work(rank, lambda tensor: all_reduce(rank, tensor))
        except Exception:
            barrier.abort()
            raise

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[rank] for rank in range(2)]


@pytest.fixture
def images() -> Tensor:
    return torch.randn(sum(SHARES), 4, 3, 5, generator=torch.Generator().manual_seed(0)) * 2 + 1


@pytest.fixture
def readers(images: Tensor) -> Tensor:
    """The gradient that arrives at the output."""
    return torch.randn(images.shape, generator=torch.Generator().manual_seed(1))


def test_two_processes_normalise_with_the_statistics_of_all_images(images: Tensor, readers: Tensor) -> None:
    scales, biases = torch.tensor([0.5, 1.0, 2.0, -1.0]), torch.tensor([0.1, 0.2, 0.3, 0.4])
    x = images.clone().requires_grad_()
    leaves = [tensor.clone().requires_grad_() for tensor in (scales, biases)]
    mean, variance = torch.zeros(4), torch.ones(4)
    expected = F.batch_norm(x, mean, variance, leaves[0], leaves[1], True, 0.01, 1e-5)
    gradients = torch.autograd.grad((expected * readers).sum(), (x, *leaves))

    def work(rank: int, all_reduce: AllReduce) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
        own = images.split(SHARES)[rank].clone().requires_grad_()
        parameters = [tensor.clone().requires_grad_() for tensor in (scales, biases)]
        rolling = torch.zeros(4), torch.ones(4)
        y = sync_batch_norm(own, parameters[0], parameters[1], rolling, 0.01, 1e-5, all_reduce)
        return y, *rolling, torch.autograd.grad((y * readers.split(SHARES)[rank]).sum(), (own, *parameters))

    (y0, *rolling0, grads0), (y1, *rolling1, grads1) = run_processes(work)
    torch.testing.assert_close(torch.cat((y0, y1)), expected)
    for rolling in (rolling0, rolling1):
        torch.testing.assert_close(rolling, [mean, variance])
    torch.testing.assert_close(torch.cat((grads0[0], grads1[0])), gradients[0], atol=1e-5, rtol=1e-4)
    for one, two, whole in zip(grads0[1:], grads1[1:], gradients[1:], strict=True):
        torch.testing.assert_close(one + two, whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("gradients", [Gradients.DARKNET, Gradients.AUTOGRAD])
def test_two_processes_normalise_across_mini_batches_as_one_does(
    gradients: Gradients, images: Tensor, readers: Tensor
) -> None:
    """``batch_normalize=2``, second of two mini-batches."""

    def normalise(x: Tensor, gradient: Tensor, all_reduce: AllReduce | None) -> tuple[Tensor, Tensor, Tensor]:
        norm = Norm(4, cross_mini_batch=True)
        norm.initialise()
        norm.train()
        for subdivision, part in enumerate((x * 0.5, x)):
            leaf = part.clone().requires_grad_()
            context = StepContext((5, 3), subdivision=subdivision, gradients=gradients, all_reduce=all_reduce)
            y = norm(leaf, torch.zeros(4), context)
            y.backward(gradient)
        assert leaf.grad is not None
        return y.detach(), leaf.grad, norm.rolling_variance.clone()

    whole = normalise(images, readers, None)
    parts = run_processes(
        lambda rank, all_reduce: normalise(images.split(SHARES)[rank], readers.split(SHARES)[rank], all_reduce)
    )
    for number in (0, 1):
        torch.testing.assert_close(
            torch.cat([part[number] for part in parts]), whole[number], atol=1e-5, rtol=1e-4, msg=str(number)
        )
    for part in parts:
        torch.testing.assert_close(part[2], whole[2])
