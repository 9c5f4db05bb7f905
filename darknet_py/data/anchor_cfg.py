"""The anchors of a cfg, and its text with other anchors.

Every head of YOLOv3 and later lists all anchors, and selects its own with ``mask=``. The official cfgs differ in the
order of their heads (v3 and tiny: coarse map first; v4: fine map first), so anchors are assigned by the size of a
head's map. A head without ``mask`` (YOLOv2) uses all anchors, in cells of its map.
"""

from __future__ import annotations

import numpy as np

from ..cfg.editing import replace_values
from ..errors import ConfigError
from ..layers import Head
from ..network import Network
from .anchors import BoxSizes, format_anchors, mean_best_iou, size_iou, split_masks

_MAX_CELLS = 32  # width of an input in units of the anchors, up to which they are written with decimals


class AnchorCfg:
    """The anchors of a network's heads, and which head uses which.

    Attributes:
        anchors: float64 [n, 2], the anchors of the cfg in pixels of the input; all heads have the same list.
        masks: indices of the anchors of each head, in the cfg's order.
        used: float64 [m, 2], the anchors that a mask contains.

    Raises:
        ConfigError: no head has anchors, or uses one of its list, or the heads' lists differ.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        heads = ((index, layer) for index, layer in enumerate(network) if isinstance(layer, Head))
        self._heads = [(index, layer) for index, layer in heads if layer.anchors]
        config = network.config
        if not self._heads:
            raise ConfigError(f"{config.path}: no head with anchors")
        lists = {layer.listed_anchors for _, layer in self._heads}
        if len(lists) != 1:
            raise ConfigError(f"{config.path}: heads with different anchors= lists: expected the same in each")
        self.masks = [list(layer.mask or range(len(layer.anchors))) for _, layer in self._heads]
        self.anchors: BoxSizes = np.array(lists.pop(), np.float64).reshape(-1, 2) * self._unit
        used = sorted({number for mask in self.masks for number in mask if number < len(self.anchors)})
        if not used:
            raise ConfigError(f"{config.path}: no head has an anchor of an anchors= list")
        self.used = self.anchors[used]

    @property
    def _unit(self) -> tuple[float, float]:
        """Pixels of the input per unit of the anchors, horizontally and vertically."""
        index, head = self._heads[0]
        if not head.anchors_in_cells:
            return 1.0, 1.0
        height, width = self._map_size(index)
        return self._network.shape.width / width, self._network.shape.height / height

    def _map_size(self, index: int) -> tuple[int, int]:
        """Height and width of a head's map."""
        shape = self._network[self._network.sources[index][0]].shape
        return shape.height, shape.width

    @property
    def stride(self) -> int:
        """Pixels of the input per cell of the coarsest map: width and height of an input are multiples of it."""
        return max(self._network.shape.width // self._map_size(index)[1] for index, _ in self._heads)

    def masks_for(self, count: int) -> list[list[int]]:
        """Return the masks for ``count`` anchors: the cfg's if they contain each anchor once, else equal parts.

        Raises:
            ConfigError: there are fewer anchors than heads.
        """
        if sorted(number for mask in self.masks for number in mask) == list(range(count)):
            return self.masks
        if count < len(self._heads):
            raise ConfigError(f"{count} anchors for {len(self._heads)} heads: expected at least one for each")
        return split_masks([-self._map_size(index)[1] for index, _ in self._heads], count)

    def mean_best_iou(self, boxes: BoxSizes) -> float:
        """Compute the mean over boxes, float64 [n, 2] in pixels, of the IoU with the best anchor that a head uses."""
        return mean_best_iou(boxes, self.used)

    def describe(self, anchors: BoxSizes, boxes: BoxSizes) -> list[str]:
        """Return a line for each head: its map, its anchors, and the share of the boxes whose best anchor it has."""
        best = np.bincount(size_iou(boxes, anchors).argmax(axis=1), minlength=len(anchors)) / len(boxes)
        lines = []
        for (index, _), mask in zip(self._heads, self.masks_for(len(anchors)), strict=True):
            height, width = self._map_size(index)
            text = format_anchors(anchors[mask]).replace(", ", " ").replace(",", "x")
            lines.append(f"layer {index}, {width} x {height} cells: {text} ({best[mask].sum():.0%} of the objects)")
        return lines

    def rewrite(self, anchors: BoxSizes) -> str:
        """Return the cfg's text with other anchors; ``filters`` before a head change with their number.

        Args:
            anchors: float64 [n, 2], in pixels of the input, smallest first.

        Raises:
            ConfigError: the layer before a head has no ``filters``.
        """
        return replace_values(self._network.config, self.edits(anchors))

    def edits(self, anchors: BoxSizes, classes: int | None = None) -> dict[int, dict[str, str]]:
        """Return the values that change with other anchors, by key, by index of the section (0 is ``[net]``).

        Args:
            anchors: as for ``rewrite``.
            classes: number of classes, if that changes too.

        Raises:
            ConfigError: the layer before a head has no ``filters``.
        """
        decimals = 0 if self._network.shape.width / self._unit[0] > _MAX_CELLS else 4
        anchor_text = format_anchors(anchors / self._unit, decimals).strip()
        edits: dict[int, dict[str, str]] = {}
        for (index, head), mask, before in zip(self._heads, self.masks_for(len(anchors)), self.masks, strict=True):
            values = edits.setdefault(index + 1, {})
            values["anchors"] = anchor_text
            if len(anchors) != len(self.anchors):
                values["num"] = str(len(anchors))
            if head.mask and (mask != before or classes is not None):
                values["mask"] = ",".join(map(str, mask))
            if classes is not None:
                values |= head.class_keys(classes)
            if len(mask) != len(before) or classes is not None:
                (inputs,) = head.inputs_for(head.classes if classes is None else classes)
                filters = inputs // len(before) * len(mask)
                edits.setdefault(self._layer_before(index) + 1, {})["filters"] = str(filters)
        return edits

    def _layer_before(self, index: int) -> int:
        """The layer that a head reads, whose filters depend on the number of anchors."""
        source = self._network.sources[index][0]
        if not hasattr(self._network[source].options, "filters"):
            raise ConfigError(
                f"{self._network.config.path}: layer {source} before the head of layer {index} has no filters=, "
                "which must change with the number of anchors"
            )
        return source
