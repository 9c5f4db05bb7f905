"""``MultiScaleHead``, the base of heads that are trained on images of several sizes."""

from __future__ import annotations

from dataclasses import dataclass

from ...cfg.schema import option
from ._head import Head


class MultiScaleHead(Head):
    """A head with the key ``random``."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Head.Options):
        """The key of multi-scale training."""

        random: float = option(
            0.0,
            "multi-scale training: range of the input's size, 1 for 1.4; pjreddie: 1 for 320 to 608 pixels",
            train=True,
            min=0,
            max=1000,
        )

    options: Options

    @property
    def multi_scale(self) -> float:
        """Value of ``random``."""
        return self.options.random
