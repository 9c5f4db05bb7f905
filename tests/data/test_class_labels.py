"""Targets of classifiers, as ``fill_truth_smooth`` and ``fill_hierarchy`` make them."""

from __future__ import annotations

import pathlib

import pytest

from darknet_py import cfg
from darknet_py.data import class_labels
from darknet_py.layers import IGNORED_TARGET
from darknet_py.network import Network
from darknet_py.training import batches


@pytest.mark.parametrize(
    ("path", "expected", "dropped"),
    [
        ("set/n2/a.jpg", ["n2"], []),
        ("set/xn2x/a.jpg", ["n2"], []),  # anywhere, as in Darknet
        ("set/n012/a.jpg", ["n012"], ["n01"]),
        ("classification/001_dog.png", ["dog"], ["cat"]),
        ("classification/dog.001.png", ["dog"], ["cat"]),
        ("cat/001_dog.png", ["dog"], ["cat"]),  # the file's name before folders
        ("dogs/cat/001.png", ["cat"], ["dog"]),  # whole words before others
        ("cat/dog/001.png", ["dog"], ["cat"]),  # the innermost folder
        ("set/hot_dog/1.png", ["hot_dog"], ["dog"]),  # the longer label
        (r"set\classification\dog_1.png", ["dog"], ["cat"]),
        ("set/cat_dog.png", ["cat", "dog"], []),  # two labels, as in Darknet
        ("catdog/1.png", ["cat", "dog"], []),
        ("set/0_fish.png", ["_fish"], ["fish"]),
        ("set/a.jpg", [], []),
    ],
)
def test_labels_are_whole_words_where_several_occur(path: str, expected: list[str], dropped: list[str]) -> None:
    labels = ("n01", "n012", "n2", "cat", "dog", "hot_dog", "fish", "_fish")
    match = class_labels.match_labels(path, labels)
    assert [labels[number] for number in match.classes] == expected
    assert [labels[number] for number in match.dropped] == dropped
    assert (match.problem(path, labels) is None) == (len(expected) == 1)
    assert (match.note(path, labels) is None) == (not dropped)


def test_messages_name_the_labels_and_the_rule() -> None:
    labels = ("cat", "dog")
    path = "classification/dog.png"
    assert str(class_labels.match_labels(path, labels).note(path, labels)) == (
        "classification/dog.png: label dog by whole words of the file's name; Darknet takes cat as well"
    )
    assert str(class_labels.match_labels("a/cat_dog.png", labels).problem("a", labels)) == (
        "a: expected one label in the path, found cat, dog"
    )


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
    loader = batches.create_classification_loader(Network(cfg.loads(text, allow_paths=True)), ["a/dog.png"], names)
    assert loader._source.target(0).tolist() == [1, 0, 0, 1, IGNORED_TARGET, IGNORED_TARGET]
