"""``[softmax]``: scores to probabilities."""

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
    """Over each of ``groups`` equal runs of the flat input, or over the groups of a tree.

    ``spatial=1`` changes nothing on AlexeyAB's CPU and is wrong on his GPU; in pjreddie's dialect it
    does what it says, a softmax over the channels of each place.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_softmax``."""

        groups: int = option(1, "equal parts that sum to 1 each")
        temperature: float = option(1.0, "divides the scores")
        tree: pathlib.Path | None = option(None, "file of a class hierarchy")
        spatial: bool = option(False, "over the channels of each place (pjreddie; AlexeyAB's CPU ignores it)")
        noloss: bool = option(False, "no loss", train=True)

    options: Options
    has_loss = True

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.tree = Tree(options.tree) if options.tree else None
        if options.groups < 1 or x.floats % options.groups:
            raise ValueError(f"{x.floats} inputs do not divide into groups={options.groups}")
        if self.tree and len(self.tree.names) != x.floats:
            raise ValueError(f"tree: {len(self.tree.names)} classes for {x.floats} inputs")

    @property
    def temperature(self) -> float:
        """As the key says."""
        return self.options.temperature

    def forward(self, x: Tensor) -> Tensor:
        """Shape kept."""
        if self.tree:
            return self.tree.softmax(x.flatten(1), 1, self.temperature).view_as(x)
        if self.options.spatial and self.options.dialect is Dialect.PJREDDIE:
            return (x / self.temperature).softmax(dim=1)
        parts = x.reshape(x.shape[0], self.options.groups, -1) / self.temperature
        return parts.softmax(dim=2).view_as(x)

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Truths [batch, inputs]: cross-entropy, whose gradient C takes for target - output whatever they sum to.

        C's cost adds up -log p of every class whose target is not 0, unweighted. A tree ignores the
        classes whose target is IGNORED, as on the GPU.
        """
        p, t = output.flatten(1), targets.to(output).view(len(output), -1)
        seen = (t != IGNORED_TARGET) if self.tree else torch.ones_like(t, dtype=torch.bool)
        if self.options.noloss:
            seen = torch.zeros_like(seen)
        with torch.no_grad():
            delta = torch.where(seen, t - p, 0.0)
            cost = torch.where(seen & (t != 0), -p.log(), 0.0).sum()
        value = torch.where(seen & (t != 0), -t * p.clamp(min=1e-30).log(), 0.0).sum()
        return Loss(cost, delta.view_as(x), value)

    def describe(self) -> str:
        """Groups or tree."""
        return f"tree of {len(self.tree.names)}" if self.tree else f"groups {self.options.groups}"
