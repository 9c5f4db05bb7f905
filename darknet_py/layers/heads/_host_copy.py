"""``copy_to_host``: what decoding needs of the outputs on a device, in one copy of a fixed size.

Rows are selected on the device without waiting for their number: those above the score threshold are moved to the
front of a table of a fixed size, and the tables of all heads are copied together with the numbers of their rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ._head import Head, SelectedRows

_ROWS_PER_IMAGE = 512  # of a head's table


class _Table(NamedTuple):
    """Rows of a head's output on the device.

    Attributes:
        total: int32 [1], how many rows are above the threshold; more than n do not fit.
        positions: int32 [n], their indices.
        rows: float [n, entries].
    """

    total: Tensor
    positions: Tensor
    rows: Tensor


def copy_to_host(heads: Sequence[Head], outputs: Sequence[Tensor], threshold: float) -> list[Tensor | SelectedRows]:
    """Return what ``Head.decode`` needs of each head's output, on the CPU.

    There is one synchronisation; two where a head has more than 512 rows per image above the threshold.

    Args:
        heads: the heads of a network.
        outputs: their outputs, float32 [batch, channels, height, width], on one device.
        threshold: score threshold; a row needs an objectness above it.
    """
    selected = [head.objectness(y) for head, y in zip(heads, outputs, strict=True)]
    limits = [_ROWS_PER_IMAGE * len(y) for y in outputs]
    while True:
        tables = [
            (y,) if scores is None else _select(head, y, scores > threshold, min(limit, len(scores)))
            for head, y, scores, limit in zip(heads, outputs, selected, limits, strict=True)
        ]
        copied = _copy_together(tables)
        counts = [int(table[0]) if len(table) > 1 else 0 for table in copied]
        if all(count <= limit for count, limit in zip(counts, limits, strict=True)):
            break
        limits = [max(limit, count) for limit, count in zip(limits, counts, strict=True)]
    return [
        table[0] if len(table) == 1 else SelectedRows(table[2][:count], table[1][:count].long(), y.shape)
        for table, count, y in zip(copied, counts, outputs, strict=True)
    ]


def _select(head: Head, output: Tensor, mask: Tensor, limit: int) -> _Table:
    """Return the first ``limit`` rows of a mask [rows], in their order."""
    rank = mask.cumsum(dim=0)
    slots = torch.where(mask & (rank <= limit), rank - 1, limit)  # slot ``limit`` takes all others
    order = torch.arange(len(mask), device=mask.device)
    positions = torch.zeros(limit + 1, dtype=torch.int64, device=mask.device).scatter_(0, slots, order)[:limit]
    return _Table(rank[-1:].int(), positions.int(), head.rows_at(output, positions))


def _copy_together(tables: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
    """Copy tensors of 32-bit types to the CPU as one."""
    tensors = [tensor for table in tables for tensor in table]
    flat = torch.cat([tensor.reshape(-1).view(torch.int32) for tensor in tensors]).cpu()
    parts = iter(flat.split([tensor.numel() for tensor in tensors]))
    return [[next(parts).view(tensor.dtype).view(tensor.shape) for tensor in table] for table in tables]
