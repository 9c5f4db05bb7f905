"""``[sam]``: the point-wise spatial attention of YOLOv4 (https://arxiv.org/abs/2004.10934, figure 5)."""

from __future__ import annotations

from ._gate import Gate
from .base import Shape, section


@section("sam")
class Sam(Gate):
    """Gate and map have the same shape."""

    def __init__(self, options: Gate.Options, gate: Shape, x: Shape) -> None:
        super().__init__(options, gate, x)
        if gate != x:
            raise ValueError(f"expected a gate of {tuple(x)} (channels, height, width), got {tuple(gate)}")
