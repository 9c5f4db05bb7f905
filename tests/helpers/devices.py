"""The devices that tests run on: the CPU, the simulated one, and CUDA where there is one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import simulated_device

DEVICES: list[Any] = ["cpu", "sim"]
if torch.cuda.is_available():
    DEVICES.append(pytest.param("cuda", marks=pytest.mark.gpu))


@contextlib.contextmanager
def available(device: str) -> Iterator[None]:
    """Make a device of ``DEVICES`` available inside the block."""
    with simulated_device.simulated() if device == "sim" else contextlib.nullcontext():
        yield


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
