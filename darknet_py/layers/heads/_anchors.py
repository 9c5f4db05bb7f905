"""What ``anchors=``, ``num=`` and ``mask=`` say about the number of anchors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...cfg.schema import Conflict


def anchor_conflicts(num: int, anchors: Sequence[float], mask: Sequence[int] = ()) -> Iterator[Conflict]:
    """Yield where the list of anchors, ``num`` and ``mask`` contradict each other.

    Darknet ignores anchors beyond ``num``, gives missing ones 0.5 x 0.5, and reads memory beyond the list for a mask
    beyond ``num``.

    Args:
        num: number of anchors in the list.
        anchors: width, height of each.
        mask: indices of the head's anchors.
    """
    pairs, odd = divmod(len(anchors), 2)
    if odd:
        yield Conflict("anchors", f"expected pairs of width and height, got {len(anchors)} values")
    elif anchors and pairs != num and max(mask, default=0) < num:
        yield Conflict("num", f"anchors= has {pairs} pairs: expected num={pairs}, got {num}")
    if mask and max(mask) >= num:
        listed = f" and anchors= has {pairs} pairs" if anchors else ""
        fitting = max(max(mask) + 1, pairs)
        yield Conflict("num", f"mask= goes up to {max(mask)}{listed}: expected num={fitting}, got {num}")
