"""The cfg of a project: classes, filters, anchors, masks and AlexeyAB's schedule."""

from __future__ import annotations

import numpy as np
import pytest

from darknet_py import cfg
from darknet_py.data.anchor_cfg import AnchorCfg
from darknet_py.data.anchors import collect_sizes, mean_best_iou
from darknet_py.data.dataset import Dataset, Sample
from darknet_py.data.project import create_project_cfg
from darknet_py.errors import ConfigError, DataError
from darknet_py.hub import catalogue
from darknet_py.network import Network


def random_dataset(classes: int, images: int = 40) -> Dataset:
    rng = np.random.default_rng(0)
    samples = []
    for number in range(images):
        side = np.exp(rng.uniform(np.log(0.03), np.log(0.5), (3, 2)))
        rows = np.concatenate((np.full((3, 2), 0.5), side, rng.integers(0, classes, (3, 1))), axis=1)
        samples.append(Sample(f"{number}.jpg", rows.astype(np.float32), np.zeros((0, 5), np.float32)))
    return Dataset(samples, tuple(f"c{number}" for number in range(classes)), source="set")


def base(name: str, size: tuple[int, int] | None = None) -> Network:
    return Network(cfg.load(catalogue.cfg_path(name)), size=size)


def entries(text: str, section: str) -> list[dict[str, str]]:
    return [{e.key: e.value for e in s.entries} for s in cfg.loads(text).sections if s.name == section]


NAMES = ["digits", "yolov4-tiny", "yolov3-tiny"]
LARGE = ["yolov2", "yolov3", "yolov3-spp", "yolov4", "yolov4-csp", "yolov7"]


@pytest.mark.parametrize("name", [*NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_every_detector_of_the_package_is_changed_to_the_classes_and_anchors(name: str) -> None:
    train = random_dataset(3)
    network = base(name)
    project = create_project_cfg(network, train, "traffic")
    changed = Network(cfg.loads(project.text), strict=True)
    assert [head.classes for head in changed.heads] == [3] * len(network.heads)
    assert [layer.shape for layer in changed][:10] == [layer.shape for layer in network][:10]
    for index, (old, new) in enumerate(zip(network.config.sections, changed.config.sections, strict=True)):
        keys = {entry.key for entry in new.entries if entry not in old.entries}
        allowed = {"filters", "anchors", "mask", "classes", "num"}
        net = {"max_batches", "steps", "batch", "subdivisions", "policy", "scales"}
        assert keys <= (allowed if index else net)
    boxes = collect_sizes(train, changed.shape.width, changed.shape.height)
    assert AnchorCfg(changed).mean_best_iou(boxes) == pytest.approx(project.new_iou, abs=0.02)
    assert project.new_iou > project.old_iou


def test_filters_are_those_of_alexeyabs_formula() -> None:
    text = create_project_cfg(base("yolov4-tiny"), random_dataset(2), "a").text
    assert text.count("filters=21\n") == 2  # (classes + 5) * 3, as his README has it for two classes


def test_masks_give_each_anchor_once_the_smaller_to_the_finer_map() -> None:
    heads = entries(create_project_cfg(base("yolov4-tiny"), random_dataset(2), "a").text, "yolo")
    assert [head["mask"] for head in heads] == ["3,4,5", "0,1,2"]  # the official cfg has 3,4,5 and 1,2,3
    assert heads[0]["anchors"] == heads[1]["anchors"]
    sizes = np.array(heads[0]["anchors"].split(","), float).reshape(-1, 2)
    assert (np.diff(sizes.prod(axis=1)) >= 0).all()


@pytest.mark.parametrize(
    ("classes", "images", "iterations", "steps"),
    [(1, 40, 6000, "4800,5400"), (3, 40, 6000, "4800,5400"), (5, 40, 10000, "8000,9000"), (3, 7000, 7000, "5600,6300")],
)
def test_the_schedule_is_that_of_alexeyabs_readme(classes: int, images: int, iterations: int, steps: str) -> None:
    train = random_dataset(classes)
    none = np.zeros((0, 5), np.float32)
    samples = [*train.samples, *(Sample("empty.jpg", none, none) for _ in range(images - len(train)))]
    (net,) = entries(create_project_cfg(base("digits"), Dataset(samples, train.names), "a").text, "net")
    assert (net["max_batches"], net["steps"], net["scales"]) == (str(iterations), steps, "0.1,0.1")
    assert (net["batch"], net["subdivisions"], net["policy"]) == ("64", "16", "steps")


def test_every_value_that_is_set_has_a_comment_and_the_size_is_the_given_one() -> None:
    text = create_project_cfg(base("digits", (128, 160)), random_dataset(2), "traffic").text
    lines = text.splitlines()
    for key in (
        "width=128",
        "batch=",
        "subdivisions=",
        "max_batches=",
        "policy=",
        "filters=21",
        "anchors=",
        "mask=",
        "classes=",
    ):
        numbers = [number for number, line in enumerate(lines) if line.startswith(key)]
        assert numbers
        assert all(lines[number - 1].startswith("# ") for number in numbers)
    assert "height=160" in lines
    assert lines[0] == "# traffic: 2 classes, made from digits.cfg by darknet-py new."
    assert max(map(len, lines)) <= 100


def test_too_few_objects_keep_the_anchors() -> None:
    train = random_dataset(2, images=1)
    project = create_project_cfg(base("digits"), train, "a")
    assert "3 objects are too few to compute 6 anchors" in project.text.replace("\n# ", " ")
    assert project.new_iou == pytest.approx(mean_best_iou(collect_sizes(train, 96, 96), project.anchors))


def test_a_network_without_anchors_and_a_data_set_without_objects_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"cspdarknet53\.cfg: no head with anchors"):
        create_project_cfg(base("cspdarknet53"), random_dataset(2), "a")
    with pytest.raises(DataError, match="expected objects to compute anchors from, found none"):
        create_project_cfg(base("digits"), Dataset([], ("a",), source="set"), "a")
