"""Liveness analysis: after which step of a program each value can be freed, and the memory that the values need."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence


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


def peak_size(
    steps: Sequence[int], dead: Sequence[Sequence[int]], sizes: Mapping[int, int], temporary: Mapping[int, int]
) -> int:
    """Compute the largest sum of the sizes of values that are alive at once.

    Args:
        steps: the value that each step computes, in order of execution.
        dead: for each step, the values that are dead after it, see ``dead_after``.
        sizes: the size of each value. Those that no step computes are alive from the start.
        temporary: what is needed besides while a value is computed; no entry: nothing.
    """
    alive = sum(size for value, size in sizes.items() if value not in set(steps))
    peak = alive
    for value, unread in zip(steps, dead, strict=True):
        alive += sizes[value]
        peak = max(peak, alive + temporary.get(value, 0))
        alive -= sum(sizes[number] for number in unread)
    return peak
