"""``[contrastive]``: a loss that pulls embeddings of one object together; nothing at inference."""

from __future__ import annotations

from dataclasses import MISSING, dataclass

import torch
from torch import Tensor

from ..schema import option
from .base import Layer, section


@section("contrastive")
class Contrastive(Layer):
    """Returns zeros, as C's CPU code leaves them there (its GPU code copies the input)."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_contrastive``."""

        classes: int = option(1000, "number of classes where there is no head", train=True)
        yolo_layer: int = option(MISSING, "number of the head whose truths are used", train=True)
        temperature: float = option(1.0, "divides the similarity", train=True)
        cls_normalizer: float = option(1.0, "factor on the gradient", train=True)
        max_delta: float = option(float("inf"), "limit of a gradient's absolute value", train=True)
        contrastive_neg_max: int = option(3, "negatives per positive", train=True)

    options: Options

    def forward(self, x: Tensor) -> Tensor:
        """Zeros of the input's shape."""
        return torch.zeros_like(x)
