"""Which layers have to stay in float so that the scores hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Scores = Mapping[str, float]  # 0..1 by the name of the metric


def largest_drop(expected: Scores, found: Scores) -> float:
    """Return the largest loss of a metric, in points (hundredths); negative where all have risen."""
    return max((100 * (value - found[name]) for name, value in expected.items()), default=0.0)


def fewest_layers(
    rank: Callable[[], Sequence[int]], is_enough: Callable[[Sequence[int]], bool]
) -> Sequence[int] | None:
    """Return the shortest beginning of a ranking that is enough, tried at 0, 1, 2, 4, ... and then by bisection.

    The scores of such a row need not rise steadily: the result is a beginning that is enough, and the one with a layer
    less is not, or was not tried.

    Args:
        rank: Returns layers, the most sensitive first; called unless none is enough.
        is_enough: Whether the scores hold with these layers in float.

    Returns:
        The layers; None if not even all of them are enough.
    """
    if is_enough(()):
        return ()
    order = rank()
    failed, tried = 0, 1
    while tried <= len(order) and not is_enough(order[:tried]):
        failed, tried = tried, min(2 * tried, len(order)) if tried < len(order) else tried + 1
    if tried > len(order):
        return None
    enough = tried
    while enough - failed > 1:
        middle = (enough + failed) // 2
        if is_enough(order[:middle]):
            enough = middle
        else:
            failed = middle
    return order[:enough]
