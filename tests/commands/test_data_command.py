"""``darknet-py data`` and ``darknet-py new``: from a folder of images to a network that is trained and evaluated."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from PIL import Image

import darknet_py as dk
from darknet_py import cfg, cli
from darknet_py.data.duplicates import DISTANCE
from darknet_py.data.formats import load_subsets
from darknet_py.demo import digits
from darknet_py.network import Network
from tests.helpers import paths

FORMATS = ("voc", "coco", "labelme")


@pytest.fixture(scope="module")
def digits_data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A small data set of digits, in Darknet's format."""
    folder = tmp_path_factory.mktemp("digits")
    digits.write_dataset(folder, 24, 8)
    return folder


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*line: object) -> int:
    return cli.main([str(word) for word in line])


def printed_commands(text: str) -> list[list[str]]:
    """The lines after ``next:``, without the name of the program."""
    lines = text.partition("next:\n")[2].splitlines()
    assert all(line.startswith("  darknet-py ") for line in lines)
    return [shlex.split(line)[1:] for line in lines]


def test_two_commands_lead_from_a_folder_to_a_training_and_a_third_evaluates(
    digits_data: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert run("data", "convert", digits_data, "labelled", "--to", "voc", "--quiet") == 0
    assert run("new", "my digits", "labelled", "--model", "digits", "--quiet") == 0
    train, evaluate = printed_commands(capsys.readouterr().out)
    assert run(*train, "--set", "max_batches=2", "--set", "batch=8", "--set", "subdivisions=1", "--no-map") == 0
    final = [word.replace("_best.", "_final.") for word in evaluate]  # a best one needs an evaluation
    assert run(*final, "--quiet") == 0
    assert {"pr_curve.png", "predictions.jpg"} <= set(os.listdir("my digits/evaluation"))
    out = capsys.readouterr().out
    assert "done: iteration 2" in out
    assert "mAP@0.50" in out


def test_a_project_is_the_same_from_every_format(digits_data: pathlib.Path) -> None:
    for name in FORMATS:
        assert run("data", "convert", digits_data, f"{name}/set", "--to", name, "--quiet") == 0
        assert run("new", f"{name}/project", f"{name}/set", "--model", "digits", "--quiet") == 0
    first, *others = (pathlib.Path(name, "project") for name in FORMATS)
    for other in others:
        for file in ("project.cfg", "project.data", "project.names", "train.txt", "valid.txt", "train/00003.png"):
            assert (other / file).read_bytes() == (first / file).read_bytes()
        for path in first.glob("*/*.txt"):
            numbers = [list(map(float, file.read_text().split())) for file in (path, other / path.relative_to(first))]
            assert numbers[0] == pytest.approx(numbers[1], abs=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_the_printed_commands_train_a_network_that_finds_digits(
    tmp_path: pathlib.Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    digits.write_dataset(tmp_path / "source", 300, 80)
    assert run("data", "convert", "source", "labelled", "--to", name, "--quiet") == 0
    assert run("new", "project", "labelled", "--model", "digits", "--quiet") == 0
    train, evaluate = printed_commands(capsys.readouterr().out)
    short = ("--set", "max_batches=120", "--set", "burn_in=20", "--set", "steps=90,110", "--set", "subdivisions=1")
    assert run(*train, *short, "--map-every", "60", "--quiet") == 0
    assert run(*evaluate, "--json", "scores.json", "--quiet") == 0
    assert json.loads(pathlib.Path("scores.json").read_text())["map"] > 0.8


MODELS = ("yolov2", "yolov3-tiny", "yolov3", "yolov3-spp", "yolov4-tiny", "yolov4", "yolov4-csp", "yolov7")
TRAINED = ("yolov2", "yolov3-tiny", "yolov4-tiny")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_becomes_a_project_that_is_built_and_trained(
    digits_data: pathlib.Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("new", "project", digits_data, "--model", name, "--imgsz", 96, 64, "--quiet") == 0
    train, _ = printed_commands(capsys.readouterr().out)
    network = Network(cfg.load("project/project.cfg"), strict=True).initialise()
    with torch.inference_mode():
        maps = network.predict(torch.zeros(1, 3, 64, 96))
    masks: list[list[int]] = []
    for index, layer in zip(network.outputs, network.heads, strict=True):
        keys = {entry.key: entry.value for entry in network.config.sections[index + 1].entries}
        masks.append(list(map(int, keys["mask"].split(","))) if "mask" in keys else list(range(int(keys["num"]))))
        assert len(keys["anchors"].split(",")) == 2 * int(keys["num"])
        before = {entry.key: entry.value for entry in network.config.sections[index].entries}
        assert int(before["filters"]) == len(masks[-1]) * (5 + 10)
        assert layer.classes == int(keys["classes"]) == 10
    assert sorted(number for mask in masks for number in mask) == list(range(sum(map(len, masks))))
    by_size = [mask for _, mask in sorted(zip((-y.shape[-1] for y in maps), masks, strict=True))]
    assert by_size == sorted(by_size)  # smaller anchors belong to finer maps
    if name in TRAINED:
        short = ("max_batches=3", "batch=4", "subdivisions=2", "burn_in=1", "random=0")
        settings = [word for value in short for word in ("--set", value)]
        assert run(*train[:3], "--output", "runs", *settings, "--no-map", "--chart", "", "--quiet") == 0
        assert all(
            values.isfinite().all()
            for values in dk.load("project/project.cfg", "runs/project_final.weights").parameters()
        )


def test_a_project_has_all_files_and_keeps_the_split(
    digits_data: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("new", "project", digits_data, "--model", "digits", "--imgsz", 128, 96, "--link", "--quiet") == 0
    out = capsys.readouterr().out
    assert {"project.cfg", "project.data", "project.names", "check.txt", "train.txt", "valid"} <= set(
        os.listdir("project")
    )
    assert "project: 24 train and 8 valid images, 10 classes" in out
    assert "advice: " in out
    assert pathlib.Path("project/check.txt").read_text() in out
    assert "width=128\n" in pathlib.Path("project/project.cfg").read_text()
    assert pathlib.Path("project/train/00000.png").resolve() == digits_data / "train" / "00000.png"
    assert run("new", "project", digits_data) == 1
    assert "project: exists: expected the name of a new folder" in capsys.readouterr().err


def test_images_without_lists_are_split_with_near_duplicates_in_one_list(
    digits_data: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(20):
        for suffix in (".png", ".txt"):
            source = digits_data / "train" / f"{number:05d}{suffix}"
            (photos / source.name).write_bytes(source.read_bytes())
    for number in range(4):  # copies of the first four
        with Image.open(photos / f"{number:05d}.png") as image:
            image.save(photos / f"copy{number}.jpg", quality=60)
        (photos / f"copy{number}.txt").write_bytes((photos / f"{number:05d}.txt").read_bytes())
    for name in ("first", "second"):
        assert run("data", "split", photos, name, "--valid-fraction", 0.25, "--seed", 5) == 0
    out, err = capsys.readouterr()
    assert "first: 18 train and 6 valid images, 10 classes" in out
    assert "8 images are near-duplicates in 4 groups, each in one list" in err
    assert pathlib.Path("first/valid.txt").read_bytes() == pathlib.Path("second/valid.txt").read_bytes()
    valid = pathlib.Path("first/valid.txt").read_text()
    assert all((f"{number:05d}.png" in valid) == (f"copy{number}.jpg" in valid) for number in range(4))
    assert run("data", "duplicates", photos, "--json", "groups.json") == 0
    groups = json.loads(pathlib.Path("groups.json").read_text())
    assert [[pathlib.Path(item["path"]).name for item in group] for group in groups] == [
        [f"{number:05d}.png", f"copy{number}.jpg"] for number in range(4)
    ]
    assert run("new", "project", photos, "--model", "digits", "--valid-fraction", 0.25, "--seed", 5, "--quiet") == 0
    assert pathlib.Path("project/valid.txt").read_text() == valid


def test_stats_prints_a_table_json_and_plots(digits_data: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "stats", digits_data, "digits", "--json", "stats.json") == 0
    out = capsys.readouterr().out
    content = json.loads(pathlib.Path("stats.json").read_text())
    assert (content["images"], content["input"], len(content["classes"])) == (32, [96, 96], 10)
    assert out.splitlines()[0].split() == ["CLASS", "NAME", "OBJECTS", "IMAGES"]
    assert out.splitlines()[1].split()[1:3] == ["zero", str(content["classes"][0]["objects"])]
    assert run("data", "stats", digits_data, "--imgsz", 64, 64, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["input"] == [64, 64]


def test_view_draws_sheets_of_the_images_that_have_a_class(
    digits_data: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("data", "view", digits_data, "--images", 20) == 0
    assert capsys.readouterr().out.split() == ["sheets/sheet_1.jpg", "sheets/sheet_2.jpg"]
    assert run("data", "view", digits_data, "-o", "zeros", "--with-classes", "zero", "--subset", "valid") == 0
    with Image.open("zeros/sheet_1.jpg") as sheet:
        with_zero = sum(0 in sample.targets[:, 4] for sample in load_subsets(digits_data)["valid"])
        assert 0 < with_zero < 5
        assert sheet.width == 8 + 408 * min(4, with_zero)
    assert run("data", "view", digits_data, "--with-classes", "ten") == 1
    assert "expected class names or numbers" in capsys.readouterr().err


def test_view_draws_what_a_cfg_makes_of_the_images(
    digits_data: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Erased parts are seen, and the sheet does not depend on anything but cfg and seed."""
    text = (paths.ROOT / "cfgs/digits.cfg").read_text()
    sheets = {}
    assert run("data", "view", digits_data, "--augment", "digits", "--images", 6, "-o", "named") == 0
    assert capsys.readouterr().out == "named/sheet_1.jpg\n"
    for name, keys in (("plain", ""), ("again", ""), ("hidden", "hide_and_seek=1\n")):
        pathlib.Path(f"{name}.cfg").write_text(text.replace("[net]\n", f"[net]\n{keys}", 1))
        assert run("data", "view", digits_data, "--augment", f"{name}.cfg", "--images", 6, "-o", name) == 0
        sheets[name] = pathlib.Path(name, "sheet_1.jpg").read_bytes()
    assert capsys.readouterr().out.split() == [f"{name}/sheet_1.jpg" for name in sheets]
    assert sheets["plain"] == sheets["again"] != sheets["hidden"]


def test_annotate_writes_detections_for_correction(
    digits_data: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (digits_data / "broken.png").write_bytes(b"")
    for name in ("label-studio", "cvat", "darknet"):
        images = [digits_data / "valid" / "00000.png", digits_data / "broken.png"]
        assert run("data", "annotate", "digits", *images, "--to", name, "-o", name, "--quiet") == 1
    assert "broken.png: empty file" in capsys.readouterr().err
    (digits_data / "broken.png").unlink()
    (task,) = json.loads(pathlib.Path("label-studio/train.json").read_text())
    (prediction,) = task["predictions"]
    scores = [result["score"] for result in prediction["result"]]
    assert scores
    assert all(0.25 < score <= 1 for score in scores)
    assert prediction["score"] == pytest.approx(sum(scores) / len(scores))
    boxes = ElementTree.parse("cvat/annotations.xml").findall("image/box")
    assert [box.get("source") for box in boxes] == ["auto"] * len(scores)
    (sample,) = load_subsets("darknet")["train"]
    (target,) = (s for s in load_subsets(digits_data)["valid"] if s.image.endswith("00000.png"))
    assert sorted(sample.targets[:, 4]) == sorted(target.targets[:, 4])  # the network was trained on such images


def test_check_is_the_check_of_the_verb(digits_data: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "check", digits_data / "digits.data", "--per-class") == 0
    first = capsys.readouterr().out
    assert run("check", digits_data / "digits.data", "--per-class") == 0
    assert capsys.readouterr().out == first


def test_check_says_that_it_takes_a_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.build_parser().parse_args(["data", "check", "--help"])
    assert "DATA [CFG]" in capsys.readouterr().out


def test_images_that_are_left_out_are_not_counted(
    digits_data: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next((digits_data / "valid").glob("*.png"))
    pathlib.Path("images.txt").write_text(f"{image}\nmissing.png\n")
    assert run("data", "convert", "images.txt", "out") == 0
    assert capsys.readouterr().out.startswith("out: 1 train image, ")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("data", "convert", "missing", "out"), "missing: no such file or folder"),
        (("data", "split", "{data}", "out", "--valid-fraction", "1.5"), "expected fractions above 0 with the sum 1"),
        (("data", "annotate", "digits", "clip.mp4"), "clip.mp4: a video: expected images"),
        (("new", "project", "{data}", "--model", "cspdarknet53"), "no head with anchors"),
        (("new", "project", "{data}", "--model", "yolov9"), "'yolov9': not in the catalogue"),
        (("data", "convert", "{data}", "https://example.com/a"), "https://example.com/a: expected a local file"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    digits_data: pathlib.Path, line: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pathlib.Path("clip.mp4").write_bytes(b"")
    assert run(*(word.replace("{data}", str(digits_data)) for word in line)) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("darknet-py: ") == 1
    assert os.listdir() == ["clip.mp4"]


def test_the_default_distance_is_the_measured_one() -> None:
    assert cli.build_parser().parse_args(["data", "duplicates", "x"]).distance == DISTANCE
