"""Devices by name: which ones this machine has, and what they cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import DarknetError

if TYPE_CHECKING:
    import torch

_WITHOUT_FLOAT64 = frozenset({"mps"})


def find_device(name: str | torch.device) -> torch.device:
    """Return a device of this machine.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or another name that torch knows; ``auto``: CUDA if available, then
            MPS, then the CPU.

    Raises:
        DarknetError: torch knows no such device, or this machine does not have it.
    """
    import torch

    if name == "auto":
        name = _accelerators()[0] if _accelerators() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except Exception as error:  # each backend of torch raises its own exceptions
        available = ", ".join(["cpu", *_accelerators()])
        raise DarknetError(
            f"device: expected auto or one of this machine's ({available}), got {str(name)!r}"
        ) from error
    return device


def _accelerators() -> list[str]:
    """Return the names of the GPUs of this machine, the default one first."""
    import torch

    cuda = ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    return (cuda if torch.cuda.is_available() else []) + (["mps"] if torch.backends.mps.is_available() else [])


def float64_device(device: torch.device) -> torch.device:
    """Return where to compute in float64 what is stored on ``device``: there, or on the CPU if it has no float64."""
    import torch

    return torch.device("cpu") if device.type in _WITHOUT_FLOAT64 else device
