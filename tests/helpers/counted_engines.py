"""Engines that count how often they are opened and called, for ``AutoEngine``."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from torch import Tensor

from darknet_py.inference import engines
from darknet_py.network import Network


class Counted:
    """Candidates that compute what the network does, and how often each was opened and called."""

    def __init__(self, net: Network, seconds: dict[str, float]) -> None:
        self.net = net
        self.calls = dict.fromkeys(seconds, 0)
        self.opened = dict.fromkeys(seconds, 0)
        self.factor = 1.0
        self.candidates: dict[str, Callable[[], engines.Engine]] = {
            name: functools.partial(self.open, name, delay) for name, delay in seconds.items()
        }

    def open(self, name: str, seconds: float) -> engines.Engine:
        self.opened[name] += 1

        def run(x: Tensor) -> list[Tensor]:
            self.calls[name] += 1
            time.sleep(seconds)
            factor = self.factor if name != "torch" else 1.0
            return [factor * y for y in self.net.predict(x)]

        return run
