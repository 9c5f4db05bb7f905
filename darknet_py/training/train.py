"""``Trainer``: one iteration after another, as ``[net]`` and the layers say it.

An iteration is one forward and backward pass for each of ``subdivisions`` mini-batches, whose gradients add
up, and then one update. By default gradients are Darknet's own, hand-made as they are in places; with
``gradients="autograd"`` they are the derivative of a real loss (``Loss.value``). Where C's CPU build trains
otherwise than its CUDA build, the latter is followed, unless ``gradients="darknet-cpu"``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from .. import schedule
from ..errors import ConfigError, DataError
from ..layers import Gradients, Head, StepContext
from ..network import Network
from .distributed import ProcessGroup
from .engine import ForwardBackward, StepOutput, Truths
from .label_rejection import LabelRejection
from .optimizer import EMA, build_optimizer

_SIMILARITY_THRESHOLD = 0.4  # cosine similarity above which a filter is re-initialised


@runtime_checkable
class _ReinitialisesFilters(Protocol):
    """A layer whose filters can be compared with each other."""

    def reinitialise_similar_filters(self, similarity_threshold: float) -> None:
        """Re-initialise one filter of the most similar pair if their cosine similarity exceeds the threshold."""


class Trainer:
    """Trains a network in place.

    ``clear``: count iterations from 0, not from what the weights have seen. ``gradients``: see
    ``Gradients``. ``freeze``: the first so many layers stay as they are, their batch norm included.
    ``seed``: of what is drawn per iteration here (policy=random, adversarial passes); dropout draws from
    torch's generator. ``amp``: a dtype to work in where it is safe; float16 also scales the loss.
    ``team``: the processes that train together. ``guard``: called when the gradients of an iteration are
    complete; what it raises leaves the weights as they are.

    Attributes: ``network``, ``iteration`` (updates made), ``rate`` (of the last one), ``parts`` (per
    mini-batch and layer with a loss, figures for the log). Raises ConfigError for a network that cannot learn.
    """

    def __init__(
        self,
        network: Network,
        *,
        clear: bool = False,
        gradients: Gradients | str = Gradients.DARKNET,
        freeze: int = 0,
        seed: int = 0,
        amp: torch.dtype | None = None,
        team: ProcessGroup | None = None,
        guard: Callable[[], None] | None = None,
    ) -> None:
        try:
            self.gradients = Gradients(gradients)
        except ValueError:
            raise ConfigError(f"gradients: expected one of {', '.join(Gradients)}, got {gradients!r}") from None
        self.network, self.options = network, network.options
        self.team, self.guard = team or ProcessGroup(), guard
        self.rejection, self.chance = LabelRejection(), random.Random(seed)
        self.passes = ForwardBackward(network, self.gradients, freeze=freeze, amp=amp, chance=self.chance)
        self.optimizer = build_optimizer(network, self.options, gradients=self.gradients)
        self.ema = EMA(network.parameters(), self.options)
        self.images = _images(network)
        if clear:
            network.seen = 0
        self.iteration, self.rate = network.seen // self.images, 0.0
        self.parts: list[dict[int, dict[str, float]]] = []

    def step(self, pairs: Sequence[tuple[Tensor, Truths]]) -> float:
        """Run an iteration and return the cost: C's number, summed over the mini-batches.

        ``pairs``: per subdivision, images [b, channels, height, width] in 0..1 and their targets: for each
        an [n, 5] tensor of x y w h (relative to the image) and class, with a sixth column of identities
        for tracking; for a classifier one [b, classes] tensor.
        """
        if not pairs:
            raise DataError("no mini-batch: expected one (images, targets) pair per subdivision")
        cost, seen, self.parts = 0.0, self.network.seen, []
        sequence = schedule.sequence(self.options, self.iteration)
        with self.passes.training(self.iteration):
            for subdivision, (images, targets) in enumerate(pairs):
                seen += len(images) * self.team.world
                found = self.passes.run(images, targets, self._moment(images, seen, subdivision, sequence))
                cost += float(torch.stack([one.loss.cost for one in found]).mean())
                self._note(found)
        self.iteration += 1
        self.rate = schedule.rate(self.options, self.iteration, self.chance)
        self._gather()
        count = sum(len(x) for x, _ in pairs) * self.team.world
        self.optimizer.step(self.rate, count * sequence, self.iteration)
        self.ema.update(self.iteration)
        self._reinitialise_similar_filters()
        self.network.seen = self.iteration * self.images
        return cost

    def _moment(self, x: Tensor, seen: int, subdivision: int, sequence: int) -> StepContext:
        return StepContext(
            size=(x.shape[3], x.shape[2]) if x.dim() == 4 else (1, 1),
            seen=seen,
            iteration=self.iteration,
            max_batches=self.options.max_batches,
            burn_in=self.options.burn_in,
            subdivision=subdivision,
            sequence=sequence,
            gradients=self.gradients,
            label_smooth_eps=self.options.label_smooth_eps,
            reject=lambda delta, classes: self.rejection(self.options, self.iteration, delta, classes),
            total=self.team.total if self.team.synchronised else None,
            time_steps=max(self.options.time_steps, 1),
        )

    def _note(self, found: list[StepOutput]) -> None:
        """Figures for the log."""
        numbers = {id(layer): index for index, layer in enumerate(self.network)}
        figures = {numbers[id(one.layer)]: {**one.loss.parts, "cost": one.loss.cost} for one in found}
        self.parts.append({number: {k: float(v) for k, v in part.items()} for number, part in figures.items()})

    def _gather(self) -> None:
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        self.team.sum(gradients)
        if not self.passes.scale.undo(gradients):
            self.network.zero_grad()  # too large for half precision: no update this time
        if self.options.try_fix_nan:
            for gradient in gradients:
                gradient.nan_to_num_(0.0, 0.0, 0.0)
        if self.guard is not None:
            self.guard()

    def _reinitialise_similar_filters(self) -> None:
        """Re-initialise filters that have become similar to others (``weights_reject_freq=``), except near a head."""
        every = self.options.weights_reject_freq
        if not every or self.iteration % every or self.iteration >= self.options.max_batches * 3 // 4:
            return
        layers = list(self.network)
        for index, layer in enumerate(layers):
            near_head = any(isinstance(later, Head) for later in layers[index + 1 : index + 4])
            if index and not near_head and isinstance(layer, _ReinitialisesFilters):
                layer.reinitialise_similar_filters(_SIMILARITY_THRESHOLD)

    def state_dict(self) -> dict[str, Any]:
        """All that the next iteration depends on besides the weights and torch's generator."""
        return {
            "iteration": self.iteration,
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict(),
            "rejection": vars(self.rejection).copy(),
            "scale": vars(self.passes.scale).copy(),
            "chance": self.chance.getstate(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state_dict; the weights must be those of its time."""
        self.iteration = state["iteration"]
        self.network.seen = self.iteration * self.images
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])
        self.rejection = LabelRejection(**state["rejection"])
        vars(self.passes.scale).update(state["scale"])
        version, internal, gauss = state["chance"]
        self.chance.setstate((version, tuple(internal), gauss))


def _images(network: Network) -> int:
    """Images of an iteration; the cfg's batch need not be a multiple of its subdivisions."""
    options = network.options
    subdivisions = max(options.subdivisions, 1)
    return max(options.batch // subdivisions, 1) * max(options.time_steps, 1) * subdivisions
