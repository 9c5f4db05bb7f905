"""``[region]`` against loops over cells and anchors: both dialects, with and without a tree and a map."""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from darknet_py.cfg import Dialect
from darknet_py.errors import DarknetError
from darknet_py.layers import DecodeOptions, Head, Shape
from tests.helpers import random_networks

# Two roots; animal has two children, dog of them two more; vehicle has one.
TREE = "animal -1\nvehicle -1\ndog 0\ncat 0\ncar 1\nterrier 2\npoodle 2\n"
PARENTS = [-1, -1, 0, 0, 1, 2, 2]
GROUPS = [[0, 1], [2, 3], [4], [5, 6]]
MAP = [6, 4, 3]
AB, PJ = Dialect.ALEXEYAB, Dialect.PJREDDIE

Row = tuple[list[float], list[float]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("region")
    (folder / "a.tree").write_text(TREE)
    (folder / "a.map").write_text("".join(f"{number}\n" for number in MAP))
    return folder


def head(folder: pathlib.Path, shape: tuple[int, int], dialect: Dialect, **keys: object) -> Head:
    entries = int(str(keys["classes"])) + 5
    text = {"num": "2", "anchors": "1.5,2,3,0.5"} | {key: str(value) for key, value in keys.items()}
    if "tree" in text:
        text |= {"tree": str(folder / "a.tree"), "map": str(folder / "a.map")}
    layer = random_networks.layer("region", text, Shape(2 * entries, *shape), dialect=dialect)
    assert isinstance(layer, Head)
    return layer


def softmax(values: list[float]) -> list[float]:
    raised = [math.exp(v) for v in values]
    return [v / sum(raised) for v in raised]


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


def absolute(scores: list[float]) -> list[float]:
    """``hierarchy_predictions``."""
    values: list[float] = []
    for value, parent in zip(scores, PARENTS, strict=True):
        values.append(value * values[parent] if parent >= 0 else value)
    return values


def descend(values: list[float], threshold: float) -> int:
    """``hierarchy_top_prediction`` over values that are absolute already."""
    product, group = 1.0, 0
    while True:
        best = max(GROUPS[group], key=lambda k: values[k])
        if product * values[best] <= threshold:
            return best if group == 0 else PARENTS[GROUPS[group][0]]
        product *= values[best]
        children = [g for g, members in enumerate(GROUPS) if PARENTS[members[0]] == best]
        if not children:
            return best
        group = children[0]


def tree_probs(obj: float, scores: list[float], options: DecodeOptions, dialect: Dialect) -> list[float]:
    values = absolute([v for group in GROUPS for v in softmax([scores[k] for k in group])])
    if options.class_map:
        return [obj * values[k] if obj * values[k] > options.threshold else 0.0 for k in MAP]
    probs = [0.0] * len(PARENTS)
    if dialect is PJ:
        if obj > options.threshold:
            probs[descend(values, options.hierarchy)] = obj
        return probs
    for k in reversed(range(len(PARENTS))):
        if values[k] > 0.5:
            probs[k] = values[k] if obj > options.threshold else 0.0
            break
    return probs


def rows(x: Tensor, keys: dict[str, object], options: DecodeOptions, dialect: Dialect) -> Iterator[Row]:
    """One image [anchors, entries, height, width]; anchors first for pjreddie, cells first for AlexeyAB."""
    _, _, height, width = x.shape
    cells = [(n, j, i) for n in range(2) for j in range(height) for i in range(width)]
    for n, j, i in cells if dialect is PJ else sorted(cells, key=lambda cell: (*cell[1:], cell[0])):
        t = x[n, :, j, i].tolist()
        anchor = ((1.5, 2.0), (3.0, 0.5))[n]
        box = [(i + sigmoid(t[0])) / width, (j + sigmoid(t[1])) / height]
        box += [math.exp(t[2]) * anchor[0] / width, math.exp(t[3]) * anchor[1] / height]
        obj, scores = sigmoid(t[4]), t[5:]
        if keys.get("classfix") == -1 and obj < 0.5:
            obj = 0.0
        if "tree" in keys:
            probs = tree_probs(obj, scores, options, dialect)
        else:
            if keys.get("softmax"):
                scores = softmax(scores)
            elif dialect is PJ:
                scores = [sigmoid(v) for v in scores]
            is_object = obj > options.threshold or dialect is AB
            probs = [obj * v if obj * v > options.threshold and is_object else 0.0 for v in scores]
        if any(probs):
            yield box, probs


KEYS: list[dict[str, object]] = [
    {"classes": 3, "softmax": 1},
    {"classes": 3},
    {"classes": 3, "classfix": -1},
    {"classes": 7, "tree": 1},
]


@pytest.mark.parametrize("keys", KEYS, ids=str)
@pytest.mark.parametrize("dialect", [AB, PJ])
@settings(max_examples=15)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    seed=st.integers(0, 2**31),
    threshold=st.sampled_from([0.0, 0.1003, 0.2501, 0.6007]),
    hierarchy=st.sampled_from([0.3, 0.5, 0.8]),
    mapped=st.booleans(),
)
def test_region_boxes_equal_the_loop(
    folder: pathlib.Path,
    keys: dict[str, object],
    dialect: Dialect,
    shape: tuple[int, int],
    seed: int,
    threshold: float,
    hierarchy: float,
    mapped: bool,
) -> None:
    if dialect is AB and "tree" in keys:
        hierarchy = 0.5  # fixed in AlexeyAB's code
    options = DecodeOptions(threshold, hierarchy, mapped and "tree" in keys)
    layer = head(folder, shape, dialect, **keys)
    x = random_networks.random(2, layer.shape.channels, *shape, seed=seed, low=-3, high=3)
    for detections, image in zip(layer.decode(layer(x), (96, 64), options), x, strict=True):
        expected = list(rows(image.view(2, -1, *shape), keys, options, dialect))
        boxes, probs = zip(*expected, strict=True) if expected else ([], [])
        torch.testing.assert_close(detections.boxes, torch.tensor(boxes).reshape(-1, 4), rtol=2e-5, atol=2e-6)
        torch.testing.assert_close(
            detections.probs, torch.tensor(probs).reshape(detections.probs.shape), rtol=2e-5, atol=2e-6
        )
        if dialect is AB:
            assert torch.equal(detections.objectness, torch.ones(len(boxes)))


def test_alexeyabs_output_is_cell_by_cell_and_pjreddies_keeps_its_order(folder: pathlib.Path) -> None:
    x = random_networks.random(1, 16, 2, 3)
    alexeyab, pjreddie = (head(folder, (2, 3), dialect, classes=3, softmax=1)(x) for dialect in (AB, PJ))
    assert alexeyab.shape == pjreddie.shape == x.shape
    cells = alexeyab.reshape(2, 3, 2, 8).permute(2, 3, 0, 1)
    maps = pjreddie.reshape(2, 8, 2, 3)
    assert torch.equal(cells[:, 2:], maps[:, 2:])
    torch.testing.assert_close(cells[:, :2].sigmoid(), maps[:, :2])


def test_background_replaces_objectness(folder: pathlib.Path) -> None:
    layer = head(folder, (2, 2), PJ, classes=3, softmax=1, background=1)
    x = random_networks.random(1, 16, 2, 2, low=-3, high=3)
    scores = x.view(2, 8, 2, 2)[:, 4:].softmax(dim=1)
    torch.testing.assert_close(layer(x).view(2, 8, 2, 2)[:, 4:], scores)
    (detections,) = layer.decode(layer(x), (32, 32), DecodeOptions(0.3001))
    expected = scores[:, 1:].permute(0, 2, 3, 1).reshape(-1, 3)
    expected = torch.where(expected > 0.3001, expected, 0)
    torch.testing.assert_close(detections.probs, expected[expected.any(dim=1)])


@pytest.mark.parametrize(
    ("tree", "numbers", "message"),
    [
        ("a -1\nb\n", "0", "a.tree:2: expected a name and the number of its parent, found other text"),
        ("a -1\nb x\n", "0", "a.tree:2: expected a name and the number of its parent, found other text"),
        ("a -1\nb 2\nc 0\n", "0", "a.tree:2: parent 2 is not an earlier class"),
        ("\n", "0", "a.tree: no classes"),
        ("a -1\nb 0\n", "0", "tree: 2 classes, expected classes=3"),
        ("a -1\nb 0\nc 0\n", "0\n3\n", "a.map:2: expected a class number in 0..2, found other text"),
        ("a -1\nb 0\nc 0\n", "0\n\none\n", "a.map:3: expected a class number in 0..2, found other text"),
    ],
)
def test_invalid_tree_and_map_files_are_refused(tree: str, numbers: str, message: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.tree").write_text(tree)
    (tmp_path / "a.map").write_text(numbers)
    with pytest.raises((DarknetError, ValueError), match=re.escape(message)):
        head(tmp_path, (1, 1), AB, classes=3, tree=1)
