"""After which step values die."""

from __future__ import annotations

from darknet_py._liveness import dead_after

INPUT = -1


def test_a_value_dies_after_its_last_reader() -> None:
    steps = [(0, (INPUT,)), (1, (0,)), (2, (1, 0)), (3, (INPUT, 2))]
    assert dead_after(steps, {3}) == [[], [], [0, 1], [INPUT, 2]]


def test_outputs_never_die() -> None:
    assert dead_after([(0, (INPUT,)), (1, (0,))], {0, 1}) == [[INPUT], []]


def test_a_value_without_readers_dies_at_once() -> None:
    assert dead_after([(0, (INPUT,)), (1, (INPUT,))], {1}) == [[0], [INPUT]]


def test_steps_may_skip_numbers() -> None:
    assert dead_after([(2, (INPUT,)), (5, (2, 2))], {5}) == [[INPUT], [2]]
