"""``ClassifierHead``, the base class of layers that output class probabilities."""

from __future__ import annotations

from ._tree import Tree
from ._window import WHOLE_MAP, Window
from .base import Layer


class ClassifierHead(Layer):
    """A layer whose output is a probability for every class.

    Attributes:
        tree: hierarchy of the classes, with which probabilities are conditional on the parent class; or None.
    """

    tree: Tree | None

    @property
    def temperature(self) -> float:
        """Divisor of the scores (logits) before the softmax."""
        return 1.0

    @property
    def window(self) -> Window:
        """Every cell."""
        return WHOLE_MAP
