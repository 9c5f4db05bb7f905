"""``TrackingHead``: a head that records the tracked object of each prediction, for losses of embeddings."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from .base import Layer


class AssignedTracks(NamedTuple):
    """The objects that predictions of a mini-batch were assigned to (``l.labels``, ``l.class_ids``), on the CPU.

    Attributes:
        tracks: int64 [batch * anchors * height * width], identity of the object; -1: none.
        classes: int64, same shape, its class; -1: none.
    """

    tracks: Tensor
    classes: Tensor


class TrackingHead(Layer):
    """Base class of heads that keep the tracked objects of the last mini-batch whose loss was computed."""

    assigned_tracks: AssignedTracks | None = None
