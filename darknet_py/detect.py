"""``Detector``: pictures in, boxes out, as Darknet's ``detector test`` does it."""

from __future__ import annotations

from torch import Tensor
