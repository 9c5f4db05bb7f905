"""Modes of a module and of torch that inference needs: set inside a block, and restored afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put a module and its children in eval mode inside the block; afterwards each has the mode that it had."""
    in_training = [part for part in _modules(module) if part.training]
    for part in in_training:
        part.training = False
    try:
        yield
    finally:
        for part in in_training:
            part.training = True


def _modules(module: nn.Module) -> list[nn.Module]:
    """Return ``module.modules()`` without making names, which would take several times as long in every detection."""
    found = [module]
    seen = {module}
    for part in found:
        for child in part._modules.values():
            if child is not None and child not in seen:
                seen.add(child)
                found.append(child)
    return found


@contextmanager
def standard_defaults(*, device: bool = True) -> Iterator[None]:
    """Make float32 torch's default dtype, and with ``device`` the CPU its default device, inside the block."""
    dtype = torch.get_default_dtype()
    with ExitStack() as restored:
        if dtype is not torch.float32:
            torch.set_default_dtype(torch.float32)
            restored.callback(torch.set_default_dtype, dtype)
        if device and torch.get_default_device().type != "cpu":
            restored.enter_context(torch.device("cpu"))
        yield


@torch.no_grad()
def update_computed(module: nn.Module) -> None:
    """Compute the tensors of ``torch.nn.utils.prune`` and ``weight_norm`` from the parameters.

    These do so in a hook before ``forward``, so that after an update the tensors are old until the next forward pass.
    In training mode the hook of ``spectral_norm`` would also change the vectors that it estimates the norm with.
    """
    with eval_mode(module):
        for part in module.modules():
            for hook in part._forward_pre_hooks.values():
                if type(hook).__module__.startswith("torch.nn.utils."):
                    hook(part, ())
