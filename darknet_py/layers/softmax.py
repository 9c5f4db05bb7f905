"""``[softmax]``: scores to class probabilities, with cross-entropy loss."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

import torch
from torch import Tensor

from ..cfg import Dialect
from ..cfg.schema import option
from ._classifier_head import ClassifierHead
from ._context import StepContext
from ._loss import IGNORED_TARGET, Loss
from ._tree import Tree
from .base import Layer, Shape, section


@section("softmax", "soft")
class Softmax(ClassifierHead):
    """Softmax over each of ``groups`` equal parts of the flattened input, or over the groups of a class tree.

    ``spatial=1`` is a softmax over the channels of each position in pjreddie's dialect; AlexeyAB's CPU code ignores
    it, and his GPU code computes wrong values.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_softmax``."""

        groups: int = option(1, "number of equal parts, each with its own softmax", min=1)
        temperature: float = option(1.0, "divisor of the scores before the softmax", min=1e-6)
        tree: pathlib.Path | None = option(None, "file with a class hierarchy")
        spatial: bool = option(False, "softmax over the channels of each position (pjreddie)")
        noloss: bool = option(False, "do not compute a loss", train=True)

    options: Options
    has_loss = True
    reads_vectors = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.tree = Tree(options.tree) if options.tree else None
        if x.floats % options.groups:
            raise ValueError(f"{x.floats} inputs do not divide into groups={options.groups}")
        if self.tree and len(self.tree.names) != x.floats:
            raise ValueError(f"tree: {len(self.tree.names)} classes, expected {x.floats}, one per input")

    @property
    def temperature(self) -> float:
        """Value of ``temperature``."""
        return self.options.temperature

    def forward(self, x: Tensor) -> Tensor:
        """Compute the softmax of ``x / temperature``, float [batch, ...]; same shape, values in 0..1."""
        if self.tree:
            return self.tree.softmax(x.flatten(1), 1, self.temperature).view_as(x)
        if self.options.spatial and self.options.dialect is Dialect.PJREDDIE:
            return (x / self.temperature).softmax(dim=1)
        parts = x.reshape(x.shape[0], self.options.groups, -1) / self.temperature
        return parts.softmax(dim=2).view_as(x)

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Compute the cross-entropy ``-sum(t * log p)`` (``softmax_x_ent_cpu``).

        Args:
            x: float [batch, inputs, 1, 1].
            output: probabilities p, same shape.
            targets: t, float [batch, inputs]; with a tree, classes of IGNORED_TARGET are left out, as on the GPU.
            context: not used.

        Returns:
            The loss: ``delta`` is t - p, also where t does not sum to 1; ``cost`` is the sum of -log p over the
            classes with t != 0, unweighted as in Darknet.
        """
        p, t = output.flatten(1), targets.to(output).view(len(output), -1)
        counted = (t != IGNORED_TARGET) if self.tree else torch.ones_like(t, dtype=torch.bool)
        if self.options.noloss:
            counted = torch.zeros_like(counted)
        with torch.no_grad():
            delta = torch.where(counted, t - p, 0.0)
            cost = torch.where(counted & (t != 0), -p.log(), 0.0).sum()
        value = torch.where(counted & (t != 0), -t * p.clamp(min=1e-30).log(), 0.0).sum()
        return Loss(cost, delta.view_as(x), value)

    def describe(self) -> str:
        """Groups or tree."""
        return f"tree of {len(self.tree.names)}" if self.tree else f"groups {self.options.groups}"
