"""Assisted excitation (https://arxiv.org/abs/1906.05388): early in training objects stand out in a layer's map."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..activations import Activation
from ._context import StepContext

# Their slope follows from the output alone, and C looks at the excited one.
_BENT = frozenset(Activation(name) for name in ("relu", "relu6", "relie", "ramp", "leaky", "revleaky", "hardtan"))


def strength(amount: int, context: StepContext) -> float:
    """How strong it is, from 1 to 0. ``amount`` 1: in the first half of training; above: from burn-in up to there."""
    iteration = context.iteration
    if amount == 1:
        fades = iteration <= context.max_batches // 2
        return (1 + math.cos(math.pi * iteration / max(context.max_batches, 1))) / 2 if fades else 0.0
    if not context.burn_in <= iteration <= amount:
        return 0.0
    return (1 + math.cos(math.pi * iteration / (context.burn_in + amount))) / 2


def covered(targets: Tensor, height: int, width: int) -> Tensor:
    """[images, 1, height, width] of the cells under ``targets`` [images, n, 6]: 1, elsewhere 0.

    As in C a box covers the column behind it, too, but not the row.
    """
    x, y, w, h = targets[..., :4].unbind(dim=-1)
    columns, rows = torch.arange(width, device=x.device), torch.arange(height, device=x.device)
    left, right = ((x - w / 2) * width).floor()[..., None], ((x + w / 2) * width).ceil()[..., None]
    top, bottom = ((y - h / 2) * height).floor()[..., None], ((y + h / 2) * height).ceil()[..., None]
    across = ((columns >= left) & (columns <= right) & (x != 0)[..., None]).float()
    down = ((rows >= top) & (rows < bottom)).float()
    return (down.transpose(1, 2) @ across).gt(0)[:, None]


def excited(before: Tensor, after: Tensor, activation: Activation, amount: int, context: StepContext) -> Tensor:
    """``after`` with its mean over the channels added where there are objects (``assisted_excitation_forward_gpu``).

    ``before``: the same before its activation. C's gradient knows nothing of what was added.
    """
    share = strength(amount, context)
    if not share or context.targets is None:
        return after
    mask = covered(context.targets, after.shape[2], after.shape[3]).to(after.dtype)
    excited = after + share * mask * after.mean(dim=1, keepdim=True)
    if not context.darknet_gradients:
        return excited
    if activation in _BENT:
        after = activation(before + (excited - before).detach(), darknet_gradients=True)
    return after + (excited - after).detach()
