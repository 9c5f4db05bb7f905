"""Targets of classifiers, as ``fill_truth_smooth`` and ``fill_hierarchy`` make them."""

from __future__ import annotations

import pathlib

import pytest

from darknet_py import cfg
from darknet_py.data import class_labels
from darknet_py.data.labels import Problem
from darknet_py.layers import IGNORED_TARGET
from darknet_py.network import Network
from darknet_py.training import batches


def test_labels_are_matched_in_the_path() -> None:
    problems: list[Problem] = []
    labels = ("n01", "n012", "n2")
    assert class_labels.match_labels("set/n2/a.jpg", labels, problems.append) == [2]
    assert not problems
    assert class_labels.match_labels("set/n012/a.jpg", labels, problems.append) == [0, 1]
    assert class_labels.match_labels("set/a.jpg", labels, problems.append) == []
    assert [str(problem) for problem in problems] == [
        "set/n012/a.jpg: expected one label in the path, found n01, n012",
        "set/a.jpg: expected one label in the path, found none",
    ]


def test_classes_are_encoded_with_label_smoothing() -> None:
    assert class_labels.encode_classes([1], 4).tolist() == [0, 1, 0, 0]
    assert class_labels.encode_classes([1], 5, 0.2) == pytest.approx([0.05, 0.8, 0.05, 0.05, 0.05])
    assert class_labels.encode_classes([0], 1, 0.2) == pytest.approx([0.8])


# animal, thing | cat, dog (animal) | tabby, lion (cat)
PARENTS, GROUPS = (-1, -1, 0, 0, 2, 2), (0, 0, 1, 1, 2, 2)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (5, [1, 0, 1, 0, 0, 1]),
        (3, [1, 0, 0, 1, IGNORED_TARGET, IGNORED_TARGET]),
        (1, [0, 1, IGNORED_TARGET, IGNORED_TARGET, IGNORED_TARGET, IGNORED_TARGET]),
    ],
)
def test_ancestors_are_set_and_other_groups_are_ignored(number: int, expected: list[float]) -> None:
    vector = class_labels.encode_classes([number], 6)
    assert class_labels.add_ancestors(vector, [number], PARENTS, GROUPS).tolist() == expected


def test_a_network_with_a_class_tree_gets_ancestors(tmp_path: pathlib.Path) -> None:
    names = ("animal", "thing", "cat", "dog", "tabby", "lion")
    tree = tmp_path / "six.tree"
    tree.write_text("".join(f"{name} {parent}\n" for name, parent in zip(names, PARENTS, strict=True)))
    text = f"[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=6\n[avgpool]\n[softmax]\ntree={tree}\n"
    loader = batches.create_classification_loader(Network(cfg.loads(text)), ["a/dog.png"], names)
    assert loader._source.target(0).tolist() == [1, 0, 0, 1, IGNORED_TARGET, IGNORED_TARGET]
