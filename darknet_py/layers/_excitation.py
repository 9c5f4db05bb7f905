"""Assisted excitation (https://arxiv.org/abs/1906.05388): amplify activations at objects early in training."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..activations import Activation
from ._context import StepContext

# C computes their derivative from the output, which includes the excitation here.
_PIECEWISE_LINEAR = frozenset(
    Activation(name) for name in ("relu", "relu6", "relie", "ramp", "leaky", "revleaky", "hardtan")
)


def excitation_factor(amount: int, context: StepContext) -> float:
    """Return the factor alpha of the current iteration, which decays from 1 to 0 along a cosine.

    Args:
        amount: value of ``assisted_excitation``: 1 for the first half of training, a larger value for the iterations
            from burn-in to this one.
        context: state of training.
    """
    iteration = context.iteration
    if amount == 1:
        is_active = iteration <= context.max_batches // 2
        return (1 + math.cos(math.pi * iteration / max(context.max_batches, 1))) / 2 if is_active else 0.0
    if not context.burn_in <= iteration <= amount:
        return 0.0
    return (1 + math.cos(math.pi * iteration / (context.burn_in + amount))) / 2


def object_mask(targets: Tensor, height: int, width: int) -> Tensor:
    """Return a mask of the cells that boxes cover. As in C, a box also covers the column right of it.

    Args:
        targets: float [images, n, 6], (cx, cy, w, h) relative to the image first.
        height: rows of the map.
        width: columns of the map.

    Returns:
        bool [images, 1, height, width].
    """
    x, y, w, h = targets[..., :4].unbind(dim=-1)
    columns, rows = torch.arange(width, device=x.device), torch.arange(height, device=x.device)
    left, right = ((x - w / 2) * width).floor()[..., None], ((x + w / 2) * width).ceil()[..., None]
    top, bottom = ((y - h / 2) * height).floor()[..., None], ((y + h / 2) * height).ceil()[..., None]
    across = ((columns >= left) & (columns <= right) & (x != 0)[..., None]).float()
    down = ((rows >= top) & (rows < bottom)).float()
    return (down.transpose(1, 2) @ across).gt(0)[:, None]


def excite(before: Tensor, after: Tensor, activation: Activation, amount: int, context: StepContext) -> Tensor:
    """Add alpha times the mean over the channels at objects (``assisted_excitation_forward_gpu``).

    C's gradient ignores the added term.

    Args:
        before: float [images, channels, height, width], the map before its activation.
        after: the map after its activation; same shape.
        activation: the activation.
        amount: value of ``assisted_excitation``.
        context: state of training, with the images' targets.

    Returns:
        The excited map; same shape.
    """
    factor = excitation_factor(amount, context)
    if not factor or context.targets is None:
        return after
    mask = object_mask(context.targets, after.shape[2], after.shape[3]).to(after, non_blocking=True)
    excited = after + factor * mask * after.mean(dim=1, keepdim=True)
    if not context.darknet_gradients:
        return excited
    if activation in _PIECEWISE_LINEAR:
        after = activation(before + (excited - before).detach(), darknet_gradients=True)
    return after + (excited - after).detach()
