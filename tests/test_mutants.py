"""The table of mutations fits the code; ``tools/check mutants`` tries them, which takes minutes."""

from __future__ import annotations

from collections import Counter

import pytest

from tools import mutants

TABLE = mutants.read_table()


@pytest.mark.parametrize("mutation", TABLE, ids=[f"{row.feature} {row.file} {row.old.strip()[:40]}" for row in TABLE])
def test_a_mutation_can_be_tried(mutation: mutants.Mutation) -> None:
    assert mutants.problem(mutation) == ""


def test_every_optional_feature_has_a_mutation() -> None:
    features = Counter(mutation.feature for mutation in TABLE)
    assert features.total() >= 50
    assert features.keys() >= {
        *("ema", "clear", "log", "saving", "seed", "adversarial", "dropblock", "filters", "stages", "views", "nan"),
        *("tiling", "cost", "implicit", "through_time", "chart", "loss_scale", "rejection", "multi_scale", "mosaic"),
    }


def test_a_stale_mutation_is_reported() -> None:
    mutation = mutants.Mutation("ema", "boxes.py", "no such text", "", "test_boxes.py")
    assert mutants.problem(mutation) == "darknet_py/boxes.py: expected once, found 0 times: 'no such text'"
    mutation = mutation._replace(file="_version.py", old="__version__", new="x", tests="test_none.py")
    assert mutants.problem(mutation) == "tests/test_none.py: no such file"
