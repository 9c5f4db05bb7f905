"""Check a data set: the same as `darknet-py check DATA`."""

from __future__ import annotations

from ..check import configure, run

__all__ = ["configure", "run"]
