"""The anchors of a cfg: which there are, and the cfg's text with others, everything else as it stands.

Every head of YOLOv3 and later lists all anchors and says with ``mask=`` which are its own. The official cfgs
differ in the order of their heads (v3 and tiny: coarse map first; v4: fine map first), so masks go by the
size of a head's map. A head without ``mask`` (YOLOv2) has all, in cells of its map.
"""

from __future__ import annotations

import numpy as np

from ..cfg.editing import replace_values
from ..errors import ConfigError
from ..layers import Head
from ..network import Network
from .anchors import Sizes, fit, overlaps, shares, text

_CELL = 32  # inputs of at most so many units of a list have anchors with decimals


class AnchorCfg:
    """The heads of a network that have anchors.

    ``anchors``: those of the cfg in pixels of the input, all heads' lists being the same; ``masks`` of the
    heads in the cfg's order; ``used``: those that a mask names. Raises ConfigError where there are none.
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
        self.anchors: Sizes = np.array(lists.pop(), np.float64).reshape(-1, 2) * self._unit
        named = sorted({number for mask in self.masks for number in mask if number < len(self.anchors)})
        self.used = self.anchors[named]

    @property
    def _unit(self) -> tuple[float, float]:
        """Pixels per unit of the list."""
        index, head = self._heads[0]
        if not head.anchors_in_cells:
            return 1.0, 1.0
        x = self._input(index)
        return self._network.shape.width / x[1], self._network.shape.height / x[0]

    def _input(self, index: int) -> tuple[int, int]:
        """Height and width of a head's map."""
        shape = self._network[self._network.sources[index][0]].shape
        return shape.height, shape.width

    def masks_for(self, count: int) -> list[list[int]]:
        """The masks for so many anchors: those of the cfg where they name each once, else equal parts."""
        if sorted(number for mask in self.masks for number in mask) == list(range(count)):
            return self.masks
        if count < len(self._heads):
            raise ConfigError(f"{count} anchors for {len(self._heads)} heads: expected one for each at least")
        return shares([-self._input(index)[1] for index, _ in self._heads], count)

    def fit(self, boxes: Sizes) -> float:
        """Mean overlap of boxes with the nearest anchor that a head has."""
        return fit(boxes, self.used)

    def told(self, anchors: Sizes, boxes: Sizes) -> list[str]:
        """For each head its map, anchors and its share of the boxes, by the nearest anchor."""
        nearest = np.bincount(overlaps(boxes, anchors).argmax(axis=1), minlength=len(anchors)) / len(boxes)
        lines = []
        for (index, _), mask in zip(self._heads, self.masks_for(len(anchors)), strict=True):
            height, width = self._input(index)
            own = text(anchors[mask]).replace(", ", " ").replace(",", "x")
            lines.append(f"layer {index}, {width} x {height} cells: {own} ({nearest[mask].sum():.0%} of the objects)")
        return lines

    def rewritten(self, anchors: Sizes) -> str:
        """The cfg's text with other anchors; ``filters`` before a head changes with their number.

        Raises ConfigError where what stands before a head has no ``filters``.
        """
        config = self._network.config
        decimals = 0 if self._network.shape.width / self._unit[0] > _CELL else 4
        listed = text(anchors / self._unit, decimals).strip()
        edits: dict[int, dict[str, str]] = {}
        for (index, head), mask, before in zip(self._heads, self.masks_for(len(anchors)), self.masks, strict=True):
            own = edits.setdefault(index + 1, {})
            own["anchors"] = listed
            if len(anchors) != len(self.anchors):
                own["num"] = str(len(anchors))
            if head.mask and mask != before:
                own["mask"] = ",".join(map(str, mask))
            if len(mask) != len(before):
                edits.setdefault(self._filters(index) + 1, {})["filters"] = str(
                    head.inputs_for(head.classes) // len(before) * len(mask)
                )
        return replace_values(config, edits)

    def _filters(self, index: int) -> int:
        """The layer whose filters a head reads."""
        source = self._network.sources[index][0]
        if not hasattr(self._network[source].options, "filters"):
            raise ConfigError(
                f"{self._network.config.path}: layer {source} before the head has no filters= to fit the anchors to"
            )
        return source
