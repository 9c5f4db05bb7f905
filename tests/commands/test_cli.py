"""The command line: exit status, files, stdout and stderr."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import darknet_py as dk
from darknet_py import cli

CFG = """
[net]
width=32
height=32
channels=3
[convolutional]
filters=14
size=32
stride=32
activation=linear
[yolo]
classes=2
mask=0,1
num=2
anchors=8,8, 16,16
"""


@pytest.fixture
def model(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Cfg and weights of a network that detects class 1 in the centre of every image."""
    (tmp_path / "tiny.cfg").write_text(CFG)
    net = dk.load(tmp_path / "tiny.cfg")
    for value in net.state_dict().values():
        value.zero_()
    first, second = (0, 0, 0, 0, 4, -9, 5), (0, 0, 0, 0, -9, 0, 0)
    net.state_dict()["layers.0.biases"].copy_(torch.tensor(first + second))
    dk.save_weights(net, tmp_path / "tiny.weights")
    (tmp_path / "tiny.names").write_text("cat\ndog\n")
    (tmp_path / "tiny.data").write_text("classes = 2\nnames = tiny.names\n")
    for name in ("a", "b"):
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    return "tiny.cfg", "tiny.weights"


def test_detect_prints_one_row_per_box(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["detect", *model, "a.png", "b.png", "--names", "tiny.names"]) == 0
    first, row, second, same = capsys.readouterr().out.splitlines()
    assert first.startswith("a.png: 60x40, 1 detection, ")
    assert second.startswith("b.png: 60x40, 1 detection, ")
    assert row == same
    assert row.split() == ["dog", "97.5%", "22", "15", "15", "10"]


def test_detect_writes_images_labels_and_json(model: tuple[str, str]) -> None:
    line = [
        "detect",
        *model,
        ".",
        "--save",
        "--save-txt",
        "labels",
        "--json",
        "detections.json",
        "--darknet-json",
        "dark.json",
        "--quiet",
    ]
    assert cli.main(line) == 0
    assert sorted(p.name for p in pathlib.Path("detected").iterdir()) == ["a.png", "b.png"]
    assert pathlib.Path("labels/a.txt").read_text() == "1 0.5000 0.5000 0.2500 0.2500\n"
    results = json.loads(pathlib.Path("detections.json").read_text())
    assert [(one["path"], one["width"], one["boxes"][0]["class"]) for one in results] == [
        ("a.png", 60, 1),
        ("b.png", 60, 1),
    ]
    dark = json.loads(pathlib.Path("dark.json").read_text())
    assert [frame["frame_id"] for frame in dark] == [1, 2]
    assert dark[0]["objects"][0]["relative_coordinates"]["center_x"] == 0.5


def test_json_on_stdout_replaces_the_text(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["detect", *model, "a.png", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["boxes"][0]["name"] == "1"


def test_two_images_of_one_name_do_not_overwrite_each_other(model: tuple[str, str]) -> None:
    pathlib.Path("sub").mkdir()
    shutil.copy("a.png", "sub/a.png")
    assert cli.main(["detect", *model, "a.png", "sub/a.png", "--save", "out", "--quiet"]) == 0
    assert sorted(p.name for p in pathlib.Path("out").iterdir()) == ["a.png", "a_2.png"]


def test_detector_test_prints_and_writes_what_darknet_does(
    model: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = [
        "detector",
        "test",
        "tiny.data",
        *model,
        "a.png",
        "-thresh",
        "0.5",
        "-ext_output",
        "-out",
        "r.json",
        "-i",
        "-1",
    ]
    assert cli.main([*line, "-dont_show", "-save_labels"]) == 0
    timing, row = capsys.readouterr().out.splitlines()
    assert timing.startswith("a.png: Predicted in ")
    assert row == "dog: 98%\t(left_x:   23   top_y:   15   width:   15   height:   10)"
    assert pathlib.Path("predictions.jpg").exists()
    assert pathlib.Path("a.txt").read_text() == "1 0.5000 0.5000 0.2500 0.2500\n"
    assert json.loads(pathlib.Path("r.json").read_text())[0]["filename"] == "a.png"


def test_info_prints_the_table(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", *model]) == 0
    out = capsys.readouterr().out
    assert "Total BFLOPS 0.000, 43,022 floats" in out
    assert cli.main(["info", "tiny.cfg", "--stored"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split(maxsplit=2)[:2] == ["14", "43008"]


def test_check_reports_what_fits_and_what_does_not(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", *model, "--names", "tiny.names"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["ok", "ok", "ok"]
    pathlib.Path("tiny.weights").write_bytes(pathlib.Path("tiny.weights").read_bytes()[:-4])
    pathlib.Path("tiny.names").write_text("cat\n")
    assert cli.main(["check", *model, "--names", "tiny.names"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "ends in layer 0 [convolutional] weights: expected 172032 bytes, found 172028" in lines[1]
    assert lines[2].endswith("tiny.names: 1 class names, but the network has 2 classes")


def test_partial_keeps_the_first_layers(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["partial", *model, "tiny.conv.1", "1"]) == 0
    assert capsys.readouterr().out == "tiny.conv.1: layers 0 to 0, 172108 bytes\n"
    assert pathlib.Path("tiny.conv.1").read_bytes()[20:] == pathlib.Path("tiny.weights").read_bytes()[20:]


def test_classes_are_filtered_by_name_or_number(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    line = ["detect", *model, "a.png", "--names", "tiny.names", "--classes"]
    for classes, count in ((["cat"], 0), (["dog"], 1), (["1"], 1), (["0", "dog"], 1)):
        assert cli.main([*line, *classes]) == 0
        assert f"{count} detection" in capsys.readouterr().out
    assert cli.main([*line, "dig"]) == 1
    message = "classes: expected class names or numbers in 0..1, got 'dig' (did you mean 'dog'?)"
    assert capsys.readouterr().err == f"darknet-py: {message}\n"
    assert cli.main([*line, "2"]) == 1


def test_classes_scores_and_boxes_are_selected(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    line = ["detect", *model, "a.png", "--names", "tiny.names"]
    for options, count in (
        (["--skip-classes", "dog"], 0),
        (["--classes", "cat,1"], 1),
        (["--class-conf", "dog=0.99"], 0),
        (["--conf", "0.99", "--class-conf", "dog=0.5"], 1),
        (["--max-det", "1", "--agnostic-nms"], 1),
    ):
        assert cli.main([*line, *options]) == 0
        assert f"{count} detection" in capsys.readouterr().out
    assert cli.main([*line, "--class-conf", "dog"]) == 1
    assert "--class-conf: expected CLASS=P, got 'dog'" in capsys.readouterr().err


def test_crops_scores_and_csv_are_written(model: tuple[str, str]) -> None:
    line = ["detect", *model, "a.png", "b.png", "--names", "tiny.names", "--quiet", "--clip"]
    assert cli.main([*line, "--save-crop", "crops", "--save-txt", "labels", "--save-conf", "--csv", "rows.csv"]) == 0
    assert sorted(map(str, pathlib.Path("crops").rglob("*.png"))) == ["crops/dog/a_1.png", "crops/dog/b_1.png"]
    with Image.open("crops/dog/a_1.png") as crop:
        assert crop.size == (16, 10)
    assert pathlib.Path("labels/a.txt").read_text() == "1 0.5000 0.5000 0.2500 0.2500 0.9754\n"
    head, first, second = pathlib.Path("rows.csv").read_text().splitlines()
    assert head == "path,class,name,confidence,x1,y1,x2,y2"
    assert first == "a.png,1,dog,0.97544,22.5,15.0,37.5,25.0"
    assert second.startswith("b.png,1,dog,")


def test_a_crop_does_not_replace_an_image(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    pathlib.Path("set/dog").mkdir(parents=True)
    shutil.copy("a.png", "set/dog/a_1.png")
    content = pathlib.Path("set/dog/a_1.png").read_bytes()
    line = ["detect", *model, "a.png", "set/dog/a_1.png", "--names", "tiny.names", "--save-crop", "set"]
    assert cli.main(line) == 1
    assert "set/dog/a_1.png: writing it would replace the input" in capsys.readouterr().err
    assert pathlib.Path("set/dog/a_1.png").read_bytes() == content


def test_classify_writes_json(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    pathlib.Path("c.cfg").write_text("[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters=2\n[avgpool]\n[softmax]\n")
    dk.save_weights(dk.load("c.cfg"), "c.weights")
    line = ["classify", "c.cfg", "c.weights", "a.png", "b.png", "--names", "tiny.names", "--device", "cpu"]
    assert cli.main([*line, "--json", "-", "--jsonl", "lines.jsonl"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [result["path"] for result in results] == ["a.png", "b.png"]
    assert {row["name"] for row in results[0]["classes"]} == {"cat", "dog"}
    assert [json.loads(text) for text in pathlib.Path("lines.jsonl").read_text().splitlines()] == results


def test_an_error_is_one_line_on_stderr_and_exit_status_1(
    model: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["detect", *model, "missing.jpg"]) == 1
    streams = capsys.readouterr()
    assert (streams.out, streams.err) == ("", "darknet-py: missing.jpg: no such file or folder\n")


@pytest.mark.parametrize("line", [["detekt"], ["detect"], ["partial", "a", "b", "c", "many"]])
def test_wrong_usage_has_exit_status_2(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line) == 2
    assert "usage: darknet-py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "usage", "message"),
    [
        (["detekt", "a.cfg"], "usage: darknet-py [-h]", "unknown verb 'detekt' (did you mean 'detect'?)"),
        (["averag", "a.cfg"], "usage: darknet-py [-h]", "unknown verb 'averag' (did you mean 'average'?)"),
        (["export", "a.cfg", "--head", "raw", "--dinamic=both"], "usage: darknet-py export", "'--dynamic'?)"),
        (
            ["info", "a.cfg", "--strikt"],
            "usage: darknet-py info",
            "unknown argument --strikt (did you mean '--strict'?)",
        ),
    ],
)
def test_wrong_words_name_the_similar_one_and_the_usage_of_the_verb(
    line: list[str], usage: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(line) == 2
    err = capsys.readouterr().err
    assert err.startswith(usage)
    assert message in err


def test_a_line_without_words_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    streams = capsys.readouterr()
    assert streams.out.startswith("usage: darknet-py")
    assert streams.err == ""


def test_public_names_of_the_package() -> None:
    names = set(dir(dk))
    assert {"Dataset", "Detector", "Network", "load", "export", "evaluate"} <= names
    assert not [name for name in names if name.startswith("_") and name != "__version__"]
    assert names == set(dk.__all__)


def test_every_verb_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in cli.verbs():
        assert cli.main([verb, "--help"]) == 0
    assert "usage: darknet-py info" in capsys.readouterr().out


def test_help_needs_no_torch() -> None:
    """Nor numpy and Pillow, which take as long to import as all else."""
    names = {"torch", "numpy", "PIL"}
    code = f"import sys; from darknet_py import cli; cli.main(['--help']); sys.exit(bool({names} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
