"""``StepContext``, the state that a training step passes to the layers, and ``Gradients``, how it computes them."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


class Gradients(enum.StrEnum):
    """How the backward pass computes gradients.

    ``DARKNET``: as Darknet's CUDA build with cuDNN does.

    ``DARKNET_CPU``: as AlexeyAB's CPU build does where it differs, for comparisons with it: a convolution
    overwrites the gradient that later readers of its input have accumulated (``col2im_cpu_ext`` clears the
    buffer first), so that shortcuts and routes pass no gradient to the layers they reach back to.

    ``AUTOGRAD``: the true derivative of a real loss.
    """

    DARKNET = "darknet"
    DARKNET_CPU = "darknet-cpu"
    AUTOGRAD = "autograd"


@dataclass(frozen=True)
class StepContext:
    """The state of training during one mini-batch.

    Attributes:
        size: width and height of the network's input in pixels.
        seen: images trained on so far, this mini-batch included.
        iteration: updates made so far.
        max_batches: updates of the whole training (``[net] max_batches``).
        burn_in: updates of the warm-up (``[net] burn_in``).
        subdivision: index of the mini-batch since the last update.
        sequence: mini-batches over which recurrent layers keep their state.
        adversarial: whether this pass computes an adversarial perturbation of the images instead of an update.
        gradients: how gradients are computed.
        label_smooth_eps: label smoothing of classifiers (``[net] label_smooth_eps``).
        reject: drops the deltas of suspect labels; takes a head's deltas [rows, 5 + classes] and the number of
            classes, and returns the deltas to use.
        all_reduce: sums a tensor over all processes, for synchronised batch norm; None: each process uses the
            statistics of its own images.
        time_steps: consecutive frames in a batch, over which recurrent layers are unrolled.
        targets: ground truth of the images, float [batch, targets, 6] on the CPU, see ``pad_targets``.
        exact_recurrence: whether recurrent layers take the exact derivative where C limits it: it does not compute
            the gradient of one of the network's recurrent layers correctly, so that its numbers cannot be reproduced.
        gradient_scale: factor on all gradients of this mini-batch, for mixed precision.
        try_fix_nan: whether gradients of convolutions are limited, and NaN in them becomes 0 (``[net] try_fix_nan``).
    """

    size: tuple[int, int]
    seen: int = 0
    iteration: int = 0
    max_batches: int = 0
    burn_in: int = 0
    subdivision: int = 0
    sequence: int = 1
    adversarial: bool = False
    gradients: Gradients = Gradients.DARKNET
    label_smooth_eps: float = 0.0
    reject: Callable[[Tensor, int], Tensor] | None = None
    all_reduce: Callable[[Tensor], Tensor] | None = None
    targets: Tensor | None = None
    time_steps: int = 1
    exact_recurrence: bool = False
    gradient_scale: float = 1.0
    try_fix_nan: bool = False

    @property
    def darknet_gradients(self) -> bool:
        """Whether gradients are Darknet's where they differ from the derivative."""
        return self.gradients is not Gradients.AUTOGRAD
