"""Liveness analysis: after which step of a program each value can be freed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def dead_after(steps: Iterable[tuple[int, Sequence[int]]], outputs: Collection[int]) -> list[list[int]]:
    """List, for each step, the values that no later step reads.

    Args:
        steps: the value that each step computes and the values that it reads, in order of execution. Values that are
            read and never computed are the program's inputs.
        outputs: values that the program returns, which never die.

    Returns:
        For each step, the values that are dead after it.
    """
    last: dict[int, int] = {}
    count = 0
    for number, (value, reads) in enumerate(steps):
        last |= dict.fromkeys((value, *reads), number)
        count += 1
    dead: list[list[int]] = [[] for _ in range(count)]
    for value, number in last.items():
        if value not in outputs:
            dead[number].append(value)
    return dead
