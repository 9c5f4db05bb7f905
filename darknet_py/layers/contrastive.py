"""``[contrastive]``: a loss that pulls embeddings of one object together; nothing at inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cfg.schema import option
from ._context import StepContext
from ._loss import Loss, squared_loss
from .base import Layer, absolute, section

_CERTAIN = 0.9999  # what C takes for a share that its formula puts above 1


@section("contrastive")
class Contrastive(Layer):
    """Returns zeros, as C's CPU code leaves them there (its GPU code copies the input).

    With ``yolo_layer`` every anchor of every cell has an embedding, and those that the head of that number
    assigned to targets of one identity belong together. Without it (C crashes there) every image has one,
    and images of one class belong together, or, without labels, each even one and the next.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_contrastive``."""

        classes: int = option(1000, "unused: the targets say how many", train=True, effect="none")
        yolo_layer: int = option(0, "number of the head whose targets are used; 0: none", train=True)
        temperature: float = option(1.0, "divides the similarity", train=True)
        cls_normalizer: float = option(1.0, "factor on the gradient", train=True)
        max_delta: float = option(float("inf"), "limit of a gradient's absolute value", train=True)
        contrastive_neg_max: int = option(3, "negatives of an embedding in all, with a head", train=True)

    options: Options
    has_loss = True
    head: tuple[Layer, ...] = ()  # a tuple keeps nn.Module from registering it twice

    def connect(self, index: int, earlier: Sequence[Layer]) -> None:
        """Find the head."""
        if self.options.yolo_layer:
            (number,) = absolute((self.options.yolo_layer,), index)
            if not 0 <= number < index or not hasattr(earlier[number], "tracked"):
                raise ValueError(f"yolo_layer: layer {number} is no earlier head whose targets have identities")
            self.head = (earlier[number],)

    def forward(self, x: Tensor) -> Tensor:
        """Zeros of the input's shape."""
        return torch.zeros_like(x)

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """C's gradient is one of https://arxiv.org/abs/2004.11362; ``value`` is the paper's loss."""
        rows, labels, classes = self._labelled(x, targets, context)
        image = torch.arange(len(labels), device=x.device) // max(len(labels) // len(x), 1)
        chosen = labels >= 0
        z, labels, classes = rows[chosen], labels[chosen], classes[chosen]
        # Pairs are made within a frame of a sequence.
        frame = image[chosen] // max(len(x) // context.time_steps, 1)
        others = ~torch.eye(len(z), dtype=torch.bool, device=x.device)
        pairs = others & (frame[:, None] == frame) & (classes[:, None] == classes)
        same = others & (labels[:, None] == labels)
        unit = F.normalize(z, dim=1, eps=1e-30)
        sim = unit @ unit.t()
        with torch.no_grad():
            step = self._step(z.detach(), sim.detach(), pairs, same, labels, classes)
            step = (step * self.options.cls_normalizer).clamp(-self.options.max_delta, self.options.max_delta)
            spread = torch.zeros_like(rows, dtype=step.dtype)
            spread[chosen] = step
            delta = self._unrows(spread, x)
            accuracy = _accuracy(sim.detach(), pairs, same)
        logits = (sim / self.options.temperature).masked_fill(~pairs, float("-inf"))
        positive = pairs & same
        log_share = (logits - logits.logsumexp(dim=1, keepdim=True)).masked_fill(~positive, 0.0)
        value = -(log_share.sum(dim=1) / positive.sum(dim=1).clamp(min=1)).sum() * self.options.cls_normalizer
        return squared_loss(delta, value, accuracy=accuracy, count=delta.new_tensor(len(z)))

    def _labelled(self, x: Tensor, targets: Tensor, context: StepContext) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings [n, length], their labels (-1: none) and the classes within which they are compared."""
        if self.head:
            tracked = getattr(self.head[0], "tracked", None)
            if tracked is None or len(tracked[0]) % (len(x) * x.shape[2] * x.shape[3]):
                raise ValueError("the head of yolo_layer has not seen this mini-batch, or has another size")
            anchors = len(tracked[0]) // (len(x) * x.shape[2] * x.shape[3])
            rows = x.unflatten(1, (anchors, -1)).permute(0, 1, 3, 4, 2).flatten(0, 3)
            return rows, *tracked
        number = torch.arange(len(x), device=x.device)
        labels = number % 2 if context.adversarial else number // 2
        hits = targets.to(x.device).view(len(x), -1) > context.label_smooth_eps
        last = hits.shape[1] - 1 - hits.flip(1).to(torch.int8).argmax(dim=1)
        labels = torch.where(hits.any(dim=1), last, labels)
        return x.flatten(1), labels, torch.zeros_like(labels)

    def _unrows(self, rows: Tensor, x: Tensor) -> Tensor:
        if not self.head:
            return rows.view_as(x)
        batch, _, height, width = x.shape
        return rows.view(batch, -1, height, width, rows.shape[1]).permute(0, 1, 4, 2, 3).reshape(x.shape)

    def _step(self, z: Tensor, sim: Tensor, pairs: Tensor, same: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
        """C's delta of embeddings [n, length] before its factor (``grad_contrastive_loss_positive`` and negative)."""
        raised = torch.where(pairs, (sim / self.options.temperature).exp(), 0.0)
        share = raised / (raised.sum(dim=0, keepdim=True) - raised)
        if self.head:
            share = torch.where((share <= 1) & share.isfinite(), share, _CERTAIN)
            times = self._negatives(pairs, same, labels, classes)
        else:
            share = torch.nan_to_num(share, 0.0, 0.0, 0.0)
            # For every positive, all but itself and the positive are negatives, other positives too.
            times = (same.sum(dim=1, keepdim=True) - same.long()) * pairs
        count = same.sum(dim=1)
        factor = 1 / (count.clamp(min=1) * self.options.temperature * z.norm(dim=1).clamp(min=1e-30))
        pull = torch.where(pairs & same, 1 - share, 0.0)
        push = times * torch.where(pairs, share, 0.0)
        moved = (pull - push) @ z - ((pull - push) * sim).sum(dim=1, keepdim=True) * z
        return torch.where(count > 0, factor, 0.0)[:, None] * moved

    def _negatives(self, pairs: Tensor, same: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
        """How often embedding k is a negative of i: C stops after ``contrastive_neg_max``, positive by positive."""
        most = max(1, self.options.contrastive_neg_max)
        candidates = (labels[:, None] != labels) & (classes[:, None] == classes)
        total, rank = candidates.sum(dim=1)[:, None, None], candidates.cumsum(dim=1)[:, None]
        sweeps = torch.arange(most, device=labels.device)[None, :, None]
        position = torch.where((pairs & candidates)[:, None], sweeps * total + rank, 0)
        valid = (position > 0) & (sweeps < same.sum(dim=1)[:, None, None])
        # One that is no pair counts, but only a pair ends the search: what counts is the pair before.
        flat = torch.where(valid, position, 0).flatten(1)
        before = F.pad(flat.cummax(dim=1).values, (1, 0))[:, :-1].view_as(position)
        return (valid & (before < most)).sum(dim=1)


def _accuracy(sim: Tensor, pairs: Tensor, same: Tensor) -> Tensor:
    """Percentage of embeddings whose likest one belongs to it; -1 where none can say."""
    if len(sim) == 0:
        return sim.new_tensor(-1.0)
    like = sim.masked_fill(~(pairs & same), -10).max(dim=1).values
    unlike = sim.masked_fill(~(pairs & ~same), -10).max(dim=1).values
    able = (like >= -1) & (unlike >= -1)
    return torch.where(able.any(), 100 * ((like > unlike) & able).sum() / able.sum().clamp(min=1), -1.0)
