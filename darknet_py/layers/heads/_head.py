"""``Head``, the base class of the detection heads and their interface to the code outside ``layers``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ...boxes import NMSOptions, RawDetections
from ...cfg.schema import option
from ...errors import DataError
from .._tree import Tree
from ..base import Layer, Shape

BOX_VALUES = 4  # values of a box


def check_box_values(section: str, coords: int, *, masks: bool = False) -> None:
    """Raise DataError if the ``coords`` values of a prediction are not a box, as those of YOLO-pose (``coords=18``).

    Args:
        section: name of the section.
        coords: number of values.
        masks: whether further values may follow those of the box.
    """
    if coords < BOX_VALUES or (coords > BOX_VALUES and not masks):
        raise DataError(
            f"[{section}] coords={coords}: expected {BOX_VALUES} values per box to decode boxes; "
            "the network returns the raw map"
        )


@dataclass(frozen=True)
class DecodeOptions:
    """Options of ``Head.decode``: which boxes and classes to return.

    Attributes:
        threshold: score threshold: class probabilities that are not above it are set to 0.
        hierarchy: with a class tree, the probability above which a class is descended into (Darknet's ``-hier``).
        class_map: with a class tree, the classes to report instead of the tree's own: those of the head's ``map=``
            file if True, or those of an int64 tensor [n] of class numbers.
    """

    threshold: float
    hierarchy: float = 0.5
    class_map: bool | Tensor = False

    def reported_classes(self, head_map: Tensor | None) -> Tensor | None:
        """Return the numbers of the classes to report, None for all; ``head_map`` is that of the head's ``map=``."""
        return self.class_map if isinstance(self.class_map, Tensor) else head_map if self.class_map else None


class SelectedRows(NamedTuple):
    """The predictions of a map that are decoded, see ``copy_to_host``.

    Attributes:
        rows: float [n, entries].
        positions: int64 [n], their indices among all predictions, in Darknet's order of boxes.
        shape: shape of the map, [batch, channels, height, width].
    """

    rows: Tensor
    positions: Tensor
    shape: torch.Size


def require_map(output: Tensor | SelectedRows) -> Tensor:
    """Return the output of a head without ``objectness``. Raises TypeError for selected rows."""
    if isinstance(output, SelectedRows):
        raise TypeError("expected the whole output of the head, got selected rows")
    return output


class Head(Layer):
    """A detection head: the end of a branch, whose output is decoded to boxes.

    Attributes:
        anchors: (width, height) of the anchors that this head predicts with; empty for a head without anchors.
        listed_anchors: (width, height) of all anchors of the ``anchors=`` key, which several heads may share.
        mask: indices of ``anchors`` among the listed ones; empty where the section has no ``mask=`` and uses all.
        anchors_in_cells: whether anchors are in cells of the map (YOLOv2) instead of pixels of the input.
        tree: hierarchy of the classes, or None.
        label_map: the head's class of each class of the labels (``map=``), int64 [n]; None: they are the same.
        prints_loss_to_stderr: whether Darknet prints ``loss_line`` to stderr instead of stdout.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys that every head has."""

        max: int = option(200, "maximum number of targets per image", train=True, min=1, max=1000000)
        jitter: float = option(0.2, "range of random translation and aspect ratio in augmentation", train=True, min=0)
        resize: float = option(1.0, "range of random scaling in augmentation", train=True, min=0)

    options: Options
    anchors: tuple[tuple[float, float], ...] = ()
    listed_anchors: tuple[tuple[float, float], ...] = ()
    mask: tuple[int, ...] = ()
    anchors_in_cells: ClassVar[bool] = False
    tree: Tree | None
    label_map: Tensor | None = None
    prints_loss_to_stderr: ClassVar[bool] = False

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.tree = None

    def objectness(self, output: Tensor) -> Tensor | None:
        """Return the scores [rows] that ``decode`` selects predictions by, in Darknet's order; None: it needs all.

        ``output``: what ``forward`` returned, float [batch, channels, height, width].
        """
        return None

    def rows_at(self, output: Tensor, positions: Tensor) -> Tensor:
        """Return the predictions, float [n, entries], at ``positions``, int64 [n], of an output with ``objectness``."""
        raise NotImplementedError

    def decode(
        self, output: Tensor | SelectedRows, size: tuple[int, int], options: DecodeOptions
    ) -> list[RawDetections]:
        """Decode the boxes of every image of a batch.

        Args:
            output: what ``forward`` returned, float [batch, channels, height, width]; for a head with ``objectness``
                its rows above the threshold are enough.
            size: width and height of the network's input in pixels.
            options: which boxes to return.

        Returns:
            For each image its boxes before NMS, (cx, cy, w, h) relative to the network's input.
        """
        raise NotImplementedError

    def decode_all(
        self, output: Tensor, size: tuple[int, int], threshold: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode every box of the map, as a static graph for export: ``decode`` without a score threshold.

        Args:
            output: what ``forward`` returned, float [batch, channels, height, width].
            size: width and height of the network's input in pixels.
            threshold: score threshold for heads whose probabilities depend on it (a class tree).

        Returns:
            Boxes, float [batch, n, 4] in Darknet's order, (cx, cy, w, h) relative to the network's input; and
            probabilities, float [batch, n, classes].

        Raises:
            ValueError: if the probabilities depend on a threshold and none is given.
        """
        raise NotImplementedError

    @property
    def classes(self) -> int:
        """Number of classes."""
        raise NotImplementedError

    @property
    def trains_class_only(self) -> bool:
        """Whether the loss trains on targets that have a class and no box: x and y are then 999999, as in C."""
        return False

    @property
    def tree_names(self) -> Sequence[str]:
        """Names of the classes in a class tree (``tree=``); empty without one."""
        return ()

    @property
    def multi_scale(self) -> float:
        """Range of the input's size in multi-scale training (``random=``); 0: the size is fixed."""
        return 0.0

    def loss_line(self, index: int, numbers: Mapping[str, float]) -> str:
        """Format the line that Darknet prints for each mini-batch of a training.

        Args:
            index: the head's layer number.
            numbers: the parts of its loss, see ``Loss.parts``.
        """
        raise NotImplementedError

    def inputs_for(self, classes: int) -> tuple[int, ...]:
        """Return the number of channels that each layer which the head reads must have for ``classes`` classes."""
        raise NotImplementedError

    def class_keys(self, classes: int) -> dict[str, str]:
        """Return the values of the keys that change with the number of classes."""
        has_counters = bool(getattr(self.options, "counters_per_class", ()))
        counters = {"counters_per_class": ",".join(["1"] * classes)} if has_counters else {}
        return {"classes": str(classes), **counters}

    @property
    def nms_options(self) -> NMSOptions:
        """Options of NMS for boxes of this head."""
        return NMSOptions()
