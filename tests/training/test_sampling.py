"""Sizes, images and coins of iterations against the rules of ``train_detector`` and ``load_data_detection``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from darknet_py.cfg import Dialect
from darknet_py.cfg.net_section import Net
from darknet_py.errors import ConfigError
from darknet_py.training.sampling import Plan

NET = Net(batch=64, subdivisions=8, max_batches=5000)


def sizes(plan: Plan, blocks: int = 400) -> list[tuple[int, int]]:
    return [plan.size_at(10 * block) for block in range(1, blocks)]


def test_sizes_change_every_ten_iterations() -> None:
    plan = Plan(NET, (416, 416), 1.0)
    for block in range(20):
        assert len({plan.size_at(10 * block + turn) for turn in range(10)}) == 1
    assert len(set(sizes(plan))) > 8


def test_sizes_are_darknets() -> None:
    """The documented range for 416: 320..608 by 32, the largest at both ends of the training."""
    plan = Plan(NET, (416, 416), 1.0)
    counts = Counter(sizes(plan))
    assert set(counts) == {(side, side) for side in range(320, 609, 32)}
    assert plan.size_at(0) == plan.size_at(9) == plan.size_at(4910) == plan.size_at(4999) == (608, 608)
    assert plan.size_at(4900) != (608, 608) or plan.size_at(4890) != (608, 608)
    # Half of the factors are above 1, where sizes are above 416; each is a uniform 1..1.4 or its inverse.
    assert 0.4 < sum(n for size, n in counts.items() if size[0] > 416 + 32) / 399 < 0.6


def test_sizes_round_halves_up_and_keep_the_aspect() -> None:
    plan = Plan(NET, (608, 352), 1.2)
    largest = plan.size_at(0)
    # 1.2 * 608 / 32 + 1 = 23.8, 1.2 * 352 / 32 + 1 = 14.2
    assert largest == (24 * 32, 14 * 32)
    assert all(width % 32 == height % 32 == 0 for width, height in sizes(plan))
    assert all(1.3 < width / height < 2.1 for width, height in sizes(plan))


def test_no_size_is_below_a_step() -> None:
    assert min(sizes(Plan(Net(resize_step=64, max_batches=9000), (64, 64), 4.0))) >= (64, 64)
    with pytest.raises(ConfigError, match="resize_step"):
        Plan(Net(resize_step=0), (64, 64), 1.0).size_at(0)


def test_pjreddies_sizes_ignore_the_size_of_the_cfg() -> None:
    """``train_detector`` of pjreddie's: (rand() % 10 + 10) * 32 every ten iterations, 608 in the last 200."""
    plan = Plan(Net(max_batches=20000, dialect=Dialect.PJREDDIE), (544, 320), 1.0)
    counts = Counter(sizes(plan, 1900))
    assert set(counts) == plan.sizes() == {(32 * n, 32 * n) for n in range(10, 20)}
    expected = 1899 / 10
    # Chi-squared with 9 degrees of freedom: above 21.7 once in a hundred.
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 21.7
    ends = {plan.size_at(iteration) for iteration in range(19810, 20000)}
    assert ends == {(608, 608)}
    assert {replace(plan, seed=seed).size_at(19800) for seed in range(100)} > ends  # C: iteration + 200 > max_batches
    assert {replace(plan, seed=seed).size_at(0) for seed in range(100)} > ends  # AlexeyAB's begins with the largest
    # ``option_find_int``: a factor such as AlexeyAB's random=0.5 is 0 there.
    assert replace(plan, random=0.5).sizes() == {replace(plan, random=0.5).size_at(500)} == {(544, 320)}


def test_without_random_the_size_stays() -> None:
    assert set(sizes(Plan(NET, (416, 320)))) == {(416, 320)}


def test_smaller_images_come_in_larger_batches() -> None:
    plan = Plan(Net(batch=64, subdivisions=8, max_batches=5000, dynamic_minibatch=True), (416, 416), 1.0)
    for iteration in range(0, 1000, 10):
        side = plan.size_at(iteration)[0]
        fitting = 8 * 608 * 608 // (side * side)
        expected = int(fitting * 0.8) if int(fitting * 0.8) > 8 else fitting
        assert plan.batch_at(iteration) == expected >= 8
    assert Plan(NET, (416, 416), 1.0).batch_at(0) == 8


def test_images_are_drawn_with_replacement_from_all() -> None:
    plan = Plan(NET, (416, 416))
    indices = [int(plan.choices(iteration, index, 0).integers(20)) for iteration in range(60) for index in range(64)]
    counts = np.bincount(indices, minlength=20)
    expected = len(indices) / 20
    # Chi-squared with 19 degrees of freedom: above 36.2 once in a hundred.
    assert ((counts - expected) ** 2 / expected).sum() < 36.2
    parts = {plan.choices(1, 1, part).integers(1 << 62) for part in range(4)}
    assert len(parts) == 4


# Objects per image of C's ``load_data`` with 6 threads and mixup=1, for images with one object: 2 if mixed, 1 if not.
MIXED_BY_C = {
    64: (
        "2222222222222222222222111111111122222222222111111111112222222222",
        "2222222222222222222222111111111122222222222111111111111111111111",
        "2222222222222222222222222222222222222222222111111111112222222222",
        "2222222222222222222222222222222211111111111111111111112222222222",
        "1111111111122222222222111111111111111111111222222222221111111111",
        "1111111111111111111111111111111122222222222222222222221111111111",
    ),
    20: (
        "22222221111111111222",
        "11111112221111111111",
        "22222222222222111111",
        "22221111112222111111",
        "22221112221111111222",
        "22221112222222111111",
    ),
    8: ("22211121", "22221122", "22122211", "22212221", "11111122", "11222221"),
    4: ("1111", "1221", "2122", "2122", "2211", "2122"),
}


def changes(mixed: Sequence[object]) -> set[int]:
    """Indices of images that are mixed while the image before is not, or the reverse."""
    return {index for index in range(1, len(mixed)) if mixed[index] != mixed[index - 1]}


@pytest.mark.parametrize("count", MIXED_BY_C)
def test_the_images_of_a_loader_thread_are_mixed_together(count: int) -> None:
    plan = Plan(Net(batch=count), (416, 416))
    mixed = [[plan.mixed(iteration, index) for index in range(count)] for iteration in range(200)]
    assert set().union(*map(changes, mixed)) == set().union(*map(changes, MIXED_BY_C[count]))
    starts = [0, *sorted(set().union(*map(changes, mixed)))]
    decisions = np.array(mixed)[:, starts]
    assert abs(decisions.mean() - 0.5) < 3 * 0.5 / np.sqrt(decisions.size)


def test_images_are_mixed_independently_without_loader_threads() -> None:
    plan = Plan(NET, (416, 416), mix_groups=0)
    mixed = [[plan.mixed(iteration, index) for index in range(64)] for iteration in range(50)]
    assert set().union(*map(changes, mixed)) == set(range(1, 64))
    assert abs(np.mean(mixed) - 0.5) < 3 * 0.5 / np.sqrt(np.size(mixed))


def test_a_contrastive_mini_batch_has_at_most_one_loader_thread_per_pair() -> None:
    plan = Plan(Net(batch=16, subdivisions=4, contrastive=True), (416, 416))
    mixed = [[plan.mixed(iteration, index) for index in range(16)] for iteration in range(50)]
    assert set().union(*map(changes, mixed)) == {8}


def test_the_images_of_a_sequence_are_mixed_together() -> None:
    net = Net(batch=4, subdivisions=2, time_steps=3, track=True)
    cases: list[tuple[dict[str, Any], set[int]]] = [({}, {6}), ({"sequential_subdivisions": 1}, set())]
    for keys, starts in cases:
        plan = Plan(replace(net, **keys), (64, 64))
        mixed = [[plan.mixed(iteration, index) for index in range(12)] for iteration in range(50)]
        assert set().union(*map(changes, mixed)) == starts


def test_sequences_run_through_the_list() -> None:
    """batch=4, two mini-batches of three steps: rows are step by step, a stream in each column."""
    net = Net(batch=4, subdivisions=2, time_steps=3, track=True, augment_speed=3)
    plan, count, speeds = Plan(net, (64, 64)), 1000, set()
    assert plan.batch == 6
    for iteration in range(30):
        rows = np.array([plan.sequenced(iteration, index, 0, count) for index in range(12)])
        streams = rows.reshape(2, 3, 2)  # mini-batch, step, stream
        steps = np.diff(streams, axis=1) % count
        for mini_batch in steps:
            assert len(set(mini_batch.flatten().tolist())) == 1
            speeds.add(int(mini_batch[0, 0]))
        assert len(set(streams[:, 0].flatten().tolist())) > 1
    assert speeds == {1, 2, 3}


def test_a_sequence_can_span_mini_batches() -> None:
    net = Net(batch=4, subdivisions=2, time_steps=3, track=True, sequential_subdivisions=1, augment_speed=1)
    plan = Plan(net, (64, 64))
    streams = np.array([plan.sequenced(5, index, 0, 1000) for index in range(12)]).reshape(6, 2)
    assert (np.diff(streams, axis=0) % 1000 == 1).all()
    assert {plan.draws_for(5, index) for index in range(12)} == {0}
