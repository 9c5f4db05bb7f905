"""``[contrastive]``: supervised contrastive loss of embeddings (https://arxiv.org/abs/2004.11362)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cfg.schema import option
from ._context import StepContext
from ._loss import Loss, squared_loss
from ._tracks import TrackingHead
from .base import Layer, resolve_indices, section

_MAX_PROBABILITY = 0.9999  # replaces a probability that C's formula puts above 1


@section("contrastive")
class Contrastive(Layer):
    """Returns zeros, as Darknet's CPU code does (its GPU code copies the input); only its loss matters.

    With ``yolo_layer`` every anchor of every cell has an embedding, and those that the head assigned to targets of
    one identity (track) are positives of each other. Without it (Darknet crashes there) every image has one
    embedding; positives are the images of one class or, without labels, each even image and the next.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys of ``parse_contrastive``."""

        classes: int = option(
            1000, "not used: the number of classes follows from the targets", train=True, effect="unused", min=0
        )
        yolo_layer: int = option(
            0, "number of the [yolo] layer whose targets are used; 0: none", train=True, layers=True
        )
        temperature: float = option(1.0, "temperature of the softmax over similarities", train=True, min=1e-6)
        cls_normalizer: float = option(1.0, "factor on the gradient", train=True, min=0)
        max_delta: float = option(
            float("inf"), "limit of a gradient's absolute value", train=True, min=0, max=float("inf")
        )
        contrastive_neg_max: int = option(
            3, "maximum number of negatives per embedding, with a head", train=True, min=0
        )

    options: Options
    has_loss = True
    head: tuple[TrackingHead, ...] = ()  # a tuple keeps nn.Module from registering the head as a child

    def connect(self, index: int, earlier: Sequence[Layer]) -> None:
        """Look up the head of ``yolo_layer``."""
        if self.options.yolo_layer:
            (number,) = resolve_indices((self.options.yolo_layer,), index)
            head = earlier[number] if 0 <= number < index else None
            if not isinstance(head, TrackingHead):
                raise ValueError(f"yolo_layer: expected an earlier [yolo], got layer {number}")
            self.head = (head,)

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros of the input's shape."""
        return torch.zeros_like(x)

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Compute ``-mean over positives p of log(exp(s_ip / t) / sum over pairs k of exp(s_ik / t))`` per embedding.

        Args:
            x: embeddings, float [batch, anchors * length, height, width] with a head, else [batch, ...].
            output: not used.
            targets: float [batch, classes] where there is no head.
            context: the training step.

        Returns:
            The loss; ``delta`` is the gradient of ``grad_contrastive_loss_positive`` and its negative counterpart.
        """
        embeddings, labels, classes = self._labelled_embeddings(x, targets, context)
        # Rows without a label are left out; those of a head are on the CPU, so that their number is known there.
        labelled = (labels >= 0).nonzero()[:, 0] if self.head else torch.arange(len(labels), device=x.device)
        labels, classes = (part[labelled].to(x.device, non_blocking=True) for part in (labels, classes))
        labelled = labelled.to(x.device, non_blocking=True)
        z = embeddings[labelled]
        # Pairs are within one frame of a sequence.
        frame = labelled // max(len(embeddings) // len(x), 1) // max(len(x) // context.time_steps, 1)
        others = ~torch.eye(len(z), dtype=torch.bool, device=x.device)
        pairs = others & (frame[:, None] == frame) & (classes[:, None] == classes)
        same = others & (labels[:, None] == labels)
        unit = F.normalize(z, dim=1, eps=1e-30)
        sim = unit @ unit.t()
        with torch.no_grad():
            gradient = self._darknet_gradient(z.detach(), sim.detach(), pairs, same, labels, classes)
            gradient = gradient * self.options.cls_normalizer
            gradient = gradient.clamp(-self.options.max_delta, self.options.max_delta)
            delta = torch.zeros_like(embeddings, dtype=gradient.dtype)
            delta[labelled] = gradient
            delta = self._to_map(delta, x)
            accuracy = _accuracy(sim.detach(), pairs, same)
        logits = (sim / self.options.temperature).masked_fill(~pairs, float("-inf"))
        positive = pairs & same
        log_probs = (logits - logits.logsumexp(dim=1, keepdim=True)).masked_fill(~positive, 0.0)
        value = -(log_probs.sum(dim=1) / positive.sum(dim=1).clamp(min=1)).sum() * self.options.cls_normalizer
        return squared_loss(delta, value, accuracy=accuracy, count=torch.tensor(float(len(z))))

    def _labelled_embeddings(self, x: Tensor, targets: Tensor, context: StepContext) -> tuple[Tensor, Tensor, Tensor]:
        """Return embeddings [n, length], their labels [n] (-1: none), and classes [n]; pairs are within a class.

        Labels and classes of a head's predictions are on the CPU.
        """
        if self.head:
            cells = len(x) * x.shape[2] * x.shape[3]
            tracks = self.head[0].assigned_tracks
            if tracks is None or len(tracks.tracks) % cells:
                raise ValueError(
                    "yolo_layer: expected a head of the same size, whose loss for this mini-batch has been computed"
                )
            anchors = len(tracks.tracks) // cells
            embeddings = x.unflatten(1, (anchors, -1)).permute(0, 1, 3, 4, 2).flatten(0, 3)
            return embeddings, *tracks
        number = torch.arange(len(x), device=x.device)
        labels = number % 2 if context.adversarial else number // 2
        hits = targets.to(x.device).view(len(x), -1) > context.label_smooth_eps
        last = hits.shape[1] - 1 - hits.flip(1).to(torch.int8).argmax(dim=1)
        labels = torch.where(hits.any(dim=1), last, labels)
        return x.flatten(1), labels, torch.zeros_like(labels)

    def _to_map(self, embeddings: Tensor, x: Tensor) -> Tensor:
        """Reshape embeddings [n, length] to the shape of ``x``."""
        if not self.head:
            return embeddings.view_as(x)
        batch, _, height, width = x.shape
        cells = embeddings.view(batch, -1, height, width, embeddings.shape[1])
        return cells.permute(0, 1, 4, 2, 3).reshape(x.shape)

    def _darknet_gradient(
        self, z: Tensor, sim: Tensor, pairs: Tensor, same: Tensor, labels: Tensor, classes: Tensor
    ) -> Tensor:
        """Compute Darknet's delta of embeddings [n, length] before ``cls_normalizer``."""
        exp = torch.where(pairs, (sim / self.options.temperature).exp(), 0.0)
        probability = exp / (exp.sum(dim=0, keepdim=True) - exp)
        if self.head:
            is_probability = (probability <= 1) & probability.isfinite()
            probability = torch.where(is_probability, probability, _MAX_PROBABILITY)
            negative_counts = self._negative_counts(pairs, same, labels, classes)
        else:
            probability = torch.nan_to_num(probability, 0.0, 0.0, 0.0)
            # For each positive, all others are negatives, the other positives too.
            negative_counts = (same.sum(dim=1, keepdim=True) - same.long()) * pairs
        count = same.sum(dim=1)
        factor = 1 / (count.clamp(min=1) * self.options.temperature * z.norm(dim=1).clamp(min=1e-30))
        positive = torch.where(pairs & same, 1 - probability, 0.0)
        negative = negative_counts * torch.where(pairs, probability, 0.0)
        weights = positive - negative
        gradient = weights @ z - (weights * sim).sum(dim=1, keepdim=True) * z
        return torch.where(count > 0, factor, 0.0)[:, None] * gradient

    def _negative_counts(self, pairs: Tensor, same: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
        """Count how often embedding k is a negative of i, [n, n]: Darknet loops over positives, then negatives.

        It stops after ``contrastive_neg_max`` negatives in all.
        """
        limit = max(1, self.options.contrastive_neg_max)
        negatives = (labels[:, None] != labels) & (classes[:, None] == classes)
        total, rank = negatives.sum(dim=1)[:, None, None], negatives.cumsum(dim=1)[:, None]
        sweeps = torch.arange(limit, device=labels.device)[None, :, None]
        position = torch.where((pairs & negatives)[:, None], sweeps * total + rank, 0)
        valid = (position > 0) & (sweeps < same.sum(dim=1)[:, None, None])
        # C counts negatives that are not pairs as well, but checks the limit only at pairs: so compare the count at the
        # previous pair.
        flat = torch.where(valid, position, 0).flatten(1)
        before = F.pad(flat.cummax(dim=1).values, (1, 0))[:, :-1].view_as(position)
        return (valid & (before < limit)).sum(dim=1)


def _accuracy(sim: Tensor, pairs: Tensor, same: Tensor) -> Tensor:
    """Return the percentage of embeddings whose most similar pair is a positive; -1 without any comparison."""
    if len(sim) == 0:
        return sim.new_tensor(-1.0)
    positive = sim.masked_fill(~(pairs & same), -10).max(dim=1).values
    negative = sim.masked_fill(~(pairs & ~same), -10).max(dim=1).values
    comparable = (positive >= -1) & (negative >= -1)
    percentage = 100 * ((positive > negative) & comparable).sum() / comparable.sum().clamp(min=1)
    return torch.where(comparable.any(), percentage, -1.0)
