"""``[implicit_mul]``: a learned vector of YOLOR, which ``[control_channels]`` multiplies (https://arxiv.org/abs/2105.04206)."""

from __future__ import annotations

from ._implicit import ImplicitVector
from .base import section


@section("implicit_mul")
class ImplicitMul(ImplicitVector):
    """``filters`` values, which start near 1.0 (YOLOR's PyTorch code; no Darknet has the section)."""

    is_darknets = False

    mean = 1.0
