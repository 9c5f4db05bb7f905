from __future__ import annotations

import json
import pathlib

import pytest

from darknet_py import cli, weights
from darknet_py.evaluation.evaluator import evaluate
from tests.helpers import noise_dataset


@pytest.fixture
def line(tmp_path: pathlib.Path) -> list[str]:
    """A command line without flags."""
    weights.save(noise_dataset.detector(tmp_path), tmp_path / "tiny.weights")
    folder = noise_dataset.images(tmp_path)
    return ["evaluate", str(tmp_path / "tiny.cfg"), str(tmp_path / "tiny.weights"), str(folder / "my.data"), "--quiet"]


def test_evaluate_prints_the_table_or_darknets_text(
    line: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = evaluate(noise_dataset.detector(tmp_path), tmp_path / "set" / "my.data", progress=False)
    assert cli.main(line) == 0
    assert capsys.readouterr().out.strip() == expected.to_table().strip()
    assert cli.main([*line, "--lines"]) == 0
    assert capsys.readouterr().out == expected.to_darknet_text() + "\n"


def test_result_files_are_written(line: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxes, voc = tmp_path / "out" / "boxes.json", tmp_path / "voc"
    assert cli.main([*line, "--json", "-", "--coco-json", str(boxes), "--voc", str(voc), "--points", "11"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["rule"] == "darknet: IoU > 0.5, 11 recalls, all 2 classes"
    assert len(json.loads(boxes.read_text())) == scores["detections"]
    assert len(list(voc.iterdir())) == 2


def test_no_progress_bar_without_a_terminal(line: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line[:-1]) == 0
    assert "images/s" not in capfd.readouterr().err


def test_errors_are_one_line(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*line, "--points", "1"]) == 1
    assert "points: expected 0 (area under the curve)" in capsys.readouterr().err
    assert cli.main([*line[:3], "nowhere.data"]) == 1
    assert "nowhere.data: No such file or directory" in capsys.readouterr().err


def test_classes_restrict_the_table_and_the_mean(
    line: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, data = noise_dataset.detector(tmp_path), tmp_path / "set" / "my.data"
    every = evaluate(network, data, progress=False)
    for number, of_class in enumerate(every.classes):
        one = evaluate(network, data, classes=[number], progress=False)
        assert [score.average_precision for score in one.classes] == [of_class.average_precision]
        assert one.map == pytest.approx(of_class.average_precision)
    name = every.data.dataset.names[1]
    assert cli.main([*line, "--classes", name, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["map"] == pytest.approx(every.classes[1].average_precision, abs=1e-6)
    assert cli.main([*line, "--skip-classes", every.classes[0].name, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["map"] == pytest.approx(every.classes[1].average_precision, abs=1e-6)
    assert cli.main([*line, "--classes", "none"]) == 1
    assert "classes: expected class names or numbers in 0..1, got 'none'" in capsys.readouterr().err
