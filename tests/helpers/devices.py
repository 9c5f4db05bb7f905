"""The devices that tests run on: the CPU, the simulated one, and CUDA where there is one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import simulated_device

ACCELERATORS: list[Any] = ["sim"]
if torch.cuda.is_available():
    ACCELERATORS.append(pytest.param("cuda", marks=pytest.mark.gpu))
DEVICES: list[Any] = ["cpu", *ACCELERATORS]

on_accelerators = pytest.mark.parametrize("device", ACCELERATORS, indirect=True)
"""For tests that compare trainings, and would compare the CPU with itself."""


@contextlib.contextmanager
def available(device: str) -> Iterator[None]:
    """Make a device of ``DEVICES`` available inside the block; CUDA without TF32, whose products have 10 bits."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        with simulated_device.simulated() if device == "sim" else contextlib.nullcontext():
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def move(module: nn.Module, device: str) -> None:
    """Move a module, in place."""
    if device == "sim":
        simulated_device.to_device(module)
    else:
        module.to(device)


def assert_same(value: Tensor, of_cpu: Tensor, device: str) -> None:
    """Compare with the numbers of the CPU: the simulated device has the same."""
    tolerance = 1e-4 if device == "cuda" else 0.0
    torch.testing.assert_close(value.cpu(), of_cpu.cpu(), rtol=tolerance, atol=tolerance, equal_nan=True)


def assert_trained_alike(module: nn.Module, of_cpu: nn.Module, device: str) -> None:
    """Compare weights; the kernels of the CPU's autograd, which the simulated device passes by, round otherwise."""
    rtol, atol = (1e-3, 1e-4) if device == "cuda" else (1e-4, 1e-6)
    found = module.state_dict()
    for name, tensor in of_cpu.state_dict().items():
        torch.testing.assert_close(found[name].cpu(), tensor, rtol=rtol, atol=atol, msg=name)
