"""``[implicit_add]``: a learned vector of YOLOR, which ``[shift_channels]`` adds (https://arxiv.org/abs/2105.04206)."""

from __future__ import annotations

from ._implicit import ImplicitVector
from .base import section


@section("implicit_add")
class ImplicitAdd(ImplicitVector):
    """``filters`` values, which start near 0.0 (YOLOR's PyTorch code; no Darknet has the section)."""

    is_darknets = False

    mean = 0.0
