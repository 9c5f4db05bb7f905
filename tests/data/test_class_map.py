"""Classes of a data set as those of a network."""

from __future__ import annotations

import pathlib

import pytest

from darknet_py import cli, loading
from darknet_py.data.class_map import mapped_names, parse_class_map
from darknet_py.data.class_names import resolve_class_names
from darknet_py.errors import DataError
from darknet_py.evaluation.evaluator import evaluate, prepare_dataset
from darknet_py.network import Network
from darknet_py.training.options import TrainOptions
from darknet_py.training.trainer import Trainer
from tests.helpers import noise_dataset
from tests.helpers.data_files import rounded_targets, write_image, write_text

NAMES = ("person", "car", "truck", "traffic light")
OWN = ("vehicle", "person")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("person=1,car=0,truck=0", {0: 1, 1: 0, 2: 0}),
        ("traffic light=vehicle, car = vehicle", {3: 0, 1: 0}),
        ("0=1", {0: 1}),
        ("names", {0: 1}),
    ],
)
def test_a_class_map_has_names_and_numbers(tmp_path: pathlib.Path, text: str, expected: dict[int, int]) -> None:
    assert parse_class_map(text, NAMES, OWN, 2) == expected
    if "," in text:
        path = write_text(tmp_path / "my.map", text.replace(",", "\n") + "\n\n")
        assert parse_class_map(str(path), NAMES, OWN, 2) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("person", "expected FROM=TO, got 'person'"),
        (
            "persn=1",
            r"class of the data set: expected .* or a name .did you mean 'person'.*, got 'persn'",
        ),
        ("4=1", r"class of the data set: expected a number in 0\.\.3"),
        ("person=2", r"class of the network: expected a number in 0\.\.1 or a name, got '2'"),
        ("person=1,0=0", "class '0' is there twice"),
        ("", "expected FROM=TO, found nothing"),
    ],
)
def test_an_invalid_class_map_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_class_map(text, NAMES, OWN, 2)
    with pytest.raises(DataError, match="no name that the network and the data set have in common"):
        parse_class_map("names", NAMES, ("cat",), 1)


def test_names_of_the_network_are_those_of_the_first_class_that_is_mapped() -> None:
    assert mapped_names({1: 0, 2: 0, 5: 2}, NAMES, 3) == ("car", "1", "2")


def test_names_may_be_a_sequence_or_a_mapping() -> None:
    assert resolve_class_names({1: "b", 0: "a"}, 2) == ["a", "b"]
    assert resolve_class_names(("a", "b"), 2) == ["a", "b"]
    with pytest.raises(DataError, match=r"expected the classes 0\.\.1 as keys, got \[1, 2\]"):
        resolve_class_names({1: "a", 2: "b"}, 2)


@pytest.fixture
def data(tmp_path: pathlib.Path) -> pathlib.Path:
    """An image with labels of three classes; names of four."""
    write_image(tmp_path / "set" / "a.png")
    write_text(tmp_path / "set" / "a.txt", "2 .3 .5 .4 .5\n0 .6 .5 .4 .5\n1 .5 .5 .2 .2\n")
    write_text(tmp_path / "set" / "list.txt", "a.png")
    write_text(tmp_path / "set" / "my.names", "\n".join(NAMES))
    return write_text(tmp_path / "set" / "my.data", "train=list.txt\nvalid=list.txt\nnames=my.names\n")


def test_a_network_is_evaluated_on_some_classes_of_a_data_set(tmp_path: pathlib.Path, data: pathlib.Path) -> None:
    network = noise_dataset.detector(tmp_path)
    with pytest.raises(DataError, match="4 class names, but the network has 2 classes"):
        prepare_dataset(network, data)
    dataset = prepare_dataset(network, data, map_classes="truck=0,person=1")
    assert rounded_targets(dataset) == [[[0.3, 0.5, 0.4, 0.5, 0.0], [0.6, 0.5, 0.4, 0.5, 1.0]]]
    assert dataset.names == ("truck", "person")
    evaluation = evaluate(network, data, names=OWN, map_classes="names", progress=False)
    assert [(score.name, score.targets) for score in evaluation.classes] == [("vehicle", 0), ("person", 1)]


def test_a_network_trains_on_some_classes_of_a_data_set(tmp_path: pathlib.Path, data: pathlib.Path) -> None:
    noise_dataset.detector(tmp_path)
    out = tmp_path / "out"
    settings = [word for setting in ("batch=2", "max_batches=1") for word in ("--set", setting)]
    line = ["train", str(data), str(tmp_path / "tiny.cfg"), "--output", str(out), *settings, "--chart", ""]
    assert cli.main([*line, "--map-classes", "person=0,car=1"]) == 0
    assert (out / "tiny.names").read_text().split() == ["person", "car"]


def mapped_network(tmp_path: pathlib.Path, lines: str) -> Network:
    write_text(tmp_path / "a.map", lines)
    text = noise_dataset.CFG.replace("[yolo]", "[yolo]\nmap=a.map").replace("height=64", "height=64\nbatch=2")
    return loading.load(write_text(tmp_path / "mapped.cfg", text))


def test_labels_go_through_the_map_of_the_head_in_evaluation(tmp_path: pathlib.Path, data: pathlib.Path) -> None:
    network = mapped_network(tmp_path, "1\n0\n0\n1\n")
    dataset = prepare_dataset(network, data)
    assert [row[4] for row in rounded_targets(dataset)[0]] == [0, 1, 0]
    assert dataset.names == ("car", "person")


def test_labels_beyond_the_map_of_the_head_end_a_training_before_it_starts(
    tmp_path: pathlib.Path, data: pathlib.Path
) -> None:
    network = mapped_network(tmp_path, "1\n0\n")
    with pytest.raises(DataError) as error:
        Trainer(network, data, TrainOptions(output=tmp_path / "out", validate=False)).run()
    place = f"{data.parent / 'a.txt'}:1"
    assert str(error.value) == f"{place}: class 2, but the network has 2 classes (0..1), as many as map= has lines"
