"""The limit that C Darknet sets to the gradient of a layer's output before the backward pass goes on."""

from __future__ import annotations

import torch
from torch import Tensor

from ._context import Gradients, StepContext


def limit_gradient(y: Tensor, context: StepContext | None) -> None:
    """Limit the gradient with respect to ``y``, summed over the readers of ``y``, to -1..1.

    Only with ``Gradients.DARKNET``: C's CUDA code does so (``constrain_ongpu``), its CPU code does not. The limit
    applies to the gradient without loss scaling. NaN stays NaN, but becomes 0 with ``try_fix_nan=1``.

    Args:
        y: Output of a layer, float of any shape.
        context: State of training.
    """
    if context is None or context.gradients is not Gradients.DARKNET or not y.requires_grad:
        return
    scale = context.gradient_scale
    fix_nan = context.try_fix_nan

    def clamp(gradient: Tensor) -> Tensor:
        limit = min(scale, torch.finfo(gradient.dtype).max)
        limited = gradient.clamp(-limit, limit)
        return limited.nan_to_num(0.0) if fix_nan else limited

    y.register_hook(clamp)
