from __future__ import annotations

import json
import logging
import pathlib
import re
from dataclasses import replace

import numpy as np
import pytest

from darknet_py import cfg, cli
from darknet_py.data.dataset import Dataset
from darknet_py.data.formats import load_dataset
from darknet_py.errors import ConfigError, DataError, UnusedOptionWarning
from darknet_py.evaluation.detections import collect
from darknet_py.evaluation.evaluator import evaluate, evaluate_detections, prepare_dataset
from darknet_py.evaluation.recall import recall_lines
from darknet_py.evaluation.scores import Evaluation
from darknet_py.evaluation.valid import write_valid_results
from darknet_py.network import Network
from tests.helpers import noise_dataset


@pytest.fixture
def network(tmp_path: pathlib.Path) -> Network:
    return noise_dataset.detector(tmp_path)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return noise_dataset.images(tmp_path)


@pytest.fixture
def evaluation(network: Network, folder: pathlib.Path) -> Evaluation:
    return evaluate(network, folder / "my.data", progress=False, match_iou=0.3)


def test_batch_size_and_workers_do_not_change_the_detections(network: Network, folder: pathlib.Path) -> None:
    dataset = prepare_dataset(network, folder / "list.txt")
    one = collect(network, dataset, batch=1, workers=0, progress=False)
    many = collect(network, dataset, batch=3, workers=3, progress=False)
    assert len(one) > 20
    assert (one.image == many.image).all()
    assert (one.classes == many.classes).all()
    np.testing.assert_allclose(one.boxes, many.boxes, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(one.confidence, many.confidence, rtol=1e-4)


def test_an_unreadable_image_has_no_detections_but_its_targets_count(
    evaluation: Evaluation, folder: pathlib.Path
) -> None:
    assert [problem.location for problem in evaluation.problems] == [str(folder / "3.png")]
    assert evaluation.all.targets == 10
    assert 3 not in evaluation.data.detections.image


def test_problems_are_logged(network: Network, folder: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "1.txt").write_text("2 .5 .5 .1 .1")
    with caplog.at_level(logging.WARNING):
        evaluate(network, folder / "my.data", progress=False)
    assert caplog.messages[0] == f"{folder / '1.txt'}:1: class 2, but the network has 2 classes (0..1); ignored"
    assert caplog.messages[1].startswith(f"{folder / '3.png'}: ")


def test_the_network_stays_in_its_mode(network: Network, folder: pathlib.Path) -> None:
    evaluate(network.train(), folder / "my.data", progress=False)
    assert network.training


def test_the_text_equals_darknets(evaluation: Evaluation) -> None:
    lines = str(evaluation).split("\n")
    one = evaluation.classes[1]
    shown = f"class_id = 1, name = traffic/light, ap = {100 * one.average_precision:.2f}%   \t "
    assert f"{shown}(TP = {one.tp}, FP = {one.fp}) " in lines
    printed = re.search(r" mean average precision \(mAP@0\.30\) = (\S+), or +(\S+) % \n", str(evaluation))
    assert printed
    assert float(printed[1]) == pytest.approx(evaluation.map, abs=1e-6)
    assert (
        f" for conf_thresh = 0.25, TP = {evaluation.all.tp}, FP = {evaluation.all.fp}, FN = {evaluation.all.fn}, "
        in str(evaluation)
    )
    assert " IoU threshold = 30 %, used Area-Under-Curve for each unique Recall " in lines


def test_the_protocol_is_printed_with_map(evaluation: Evaluation) -> None:
    data = evaluation.data
    assert "(darknet: IoU > 0.3, area under the curve, all 2 classes)" in evaluation.to_table()
    eleven = evaluate_detections(data.dataset, data.detections, points=11)
    assert "(darknet: IoU > 0.5, 11 recalls, all 2 classes)" in eleven.to_table()
    assert "(voc07: IoU >= 0.5, 11 recalls" in str(evaluate_detections(data.dataset, data.detections, "voc07"))
    assert evaluation.map50 == evaluate_detections(data.dataset, data.detections).map
    assert json.loads(json.dumps(evaluation.to_dict()))["classes"][0]["name"] == "cat"


def test_valid_writes_the_format_and_folder_of_the_data_file(
    network: Network, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    with (folder / "my.data").open("a") as file:
        file.write(f"eval = coco\nresults = {tmp_path / 'r'}\n")
    (path,) = write_valid_results(network, folder / "my.data", out="mine", progress=False)
    assert path == tmp_path / "r" / "mine.json"
    assert json.loads(path.read_text())[0]["image_id"] in range(5)


def test_recall_counts_targets_covered_by_any_detection(network: Network, folder: pathlib.Path) -> None:
    (folder / "list.txt").write_text("\n".join(str(folder / f"{number}.png") for number in (0, 1, 2)))
    lines = list(recall_lines(network, load_dataset(folder / "my.data")))
    assert len(lines) == 3
    assert re.fullmatch(r"    2 +\d+     6\tRPs/Img: \d+\.\d\d\tIOU: \d+\.\d\d%\tRecall:\d+\.\d\d%", lines[-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 1}, "points: expected 0"),
        ({"threshold": 25.0}, "threshold: expected 0..1, got 25"),
        ({"names": ["a"]}, "1 class names, but the network has 2 classes"),
    ],
)
def test_invalid_arguments_are_refused(
    network: Network, folder: pathlib.Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(network, folder / "my.data", **options)  # type: ignore[arg-type]


def test_a_wrong_number_of_class_names_is_refused_with_the_file(network: Network, folder: pathlib.Path) -> None:
    (folder / "my.names").write_text("cat\n")
    with pytest.raises(DataError, match=r"my\.data: 1 class names, but the network has 2 classes"):
        evaluate(network, folder / "my.data", progress=False)


def test_an_empty_data_set_is_refused(network: Network) -> None:
    with pytest.raises(DataError, match="no images"):
        evaluate(network, Dataset([]))


def test_evaluating_a_data_set_without_objects_is_an_error(
    network: Network, folder: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in folder.glob("[0-9]*.txt"):
        path.unlink()
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(DataError, match=r"my\.data: nothing to evaluate: no object of the network's 2 classes in 5"),
    ):
        evaluate(network, folder / "my.data", progress=False)
    assert [message.partition(";")[0] for message in caplog.messages if "label file" in message] == [
        "5 images have no label file and are treated as images without objects"
    ]


@pytest.mark.parametrize(("subset", "what"), [("train", "train on"), ("valid", "evaluate")])
def test_a_training_without_objects_ends_before_it_starts(
    network: Network, folder: pathlib.Path, subset: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty").mkdir()
    (folder / "empty" / "1.png").write_bytes((folder / "1.png").read_bytes())
    (folder / "empty" / "list.txt").write_text("1.png\n")
    lists = {"train": "list.txt", "valid": "list.txt", subset: "empty/list.txt"}
    (folder / "my.data").write_text("".join(f"{key}={path}\n" for key, path in lists.items()))
    line = ["train", str(folder / "my.data"), network.config.path, "--output", str(folder / "out")]
    assert cli.main([*line, "--set", "batch=2"]) == 1
    assert f"my.data: nothing to {what}: no object" in capsys.readouterr().err
    assert not list(folder.glob("out/*.weights"))


def test_no_readable_image_is_an_error(network: Network, folder: pathlib.Path) -> None:
    for path in folder.glob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"nothing to evaluate: none of \d+ images can be read; the first: .*0\.png"):
        evaluate(network, folder / "my.data", progress=False)


def test_the_list_that_stands_in_for_a_missing_one_is_said(
    network: Network, folder: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = (folder / "my.data").read_text()
    (folder / "my.data").write_text(text.replace("valid", "train"))
    with caplog.at_level(logging.WARNING):
        evaluate(network, folder / "my.data", progress=False)
    assert f"{folder / 'my.data'} has no valid=: using the images of train=list.txt" in caplog.messages


def test_a_map_file_that_is_missing_is_an_error(folder: pathlib.Path) -> None:
    """Inference does without it."""
    text = noise_dataset.CFG.replace("[yolo]", "[yolo]\nmap=none.map")
    with pytest.warns(UnusedOptionWarning, match=r"map: file 'none\.map' not found"):
        network = Network(cfg.loads(text))
    with pytest.raises(ConfigError, match=r"\[yolo\] map: file 'none\.map' not found"):
        prepare_dataset(network, folder / "my.data")


def test_the_networks_classes_in_another_order_are_refused(network: Network, folder: pathlib.Path) -> None:
    dataset = load_dataset(folder / "my.data")
    network.names = tuple(f"class {number}" for number in range(network.heads[-1].classes))
    with pytest.raises(DataError, match="the classes are those of the network in another order"):
        prepare_dataset(network, replace(dataset, names=network.names[::-1]))
    mapped = prepare_dataset(network, replace(dataset, names=network.names[::-1]), map_classes="names")
    assert mapped.names == network.names
    assert prepare_dataset(network, replace(dataset, names=network.names)).names == network.names
