"""Checking a data set reports every problem once."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

import numpy as np
import pytest
from PIL import Image

from darknet_py import cli
from darknet_py.data.check import check_dataset
from darknet_py.hub import catalogue


def image(path: pathlib.Path, labels: str | None = "0 .5 .5 .2 .2\n") -> str:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    if labels is not None:
        path.with_suffix(".txt").write_text(labels)
    return f"{path}\n"


def test_a_single_list_is_checked_for_the_number_of_classes(tmp_path: pathlib.Path) -> None:
    (tmp_path / "valid.list").write_text(image(tmp_path / "a.png", "0 .5 .5 .2 .2\n7 .5 .5 .2 .2\n"))
    (tmp_path / "set.data").write_text("valid = valid.list\n")
    (tmp_path / "set.names").write_text("a\nb\n")
    (report,) = check_dataset(tmp_path / "set.data")
    assert (report.subset, report.problems) == ("valid", ())
    (report,) = check_dataset(tmp_path / "set.data", classes=2)
    assert [problem.message for problem in report.problems] == [
        "class 7, but the network has 2 classes (0..1); ignored"
    ]
    assert cli.main(["check", str(tmp_path / "set.data"), "--names", str(tmp_path / "set.names")]) == 1


def test_missing_broken_and_duplicate_images_and_labels_are_reported(tmp_path: pathlib.Path) -> None:
    good = image(tmp_path / "good.png")
    invalid = image(tmp_path / "invalid.png", "7 .5 .5 .2 .2\n0 1.5 .5 .2 .2\n")
    bare = image(tmp_path / "bare.png", None)
    torn = f"{tmp_path / 'torn.jpg'}\n"
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "torn.txt").write_text("1 .5 .5 .2 .2\n")
    (tmp_path / "train.list").write_text(good * 2 + invalid + bare + torn + f"{tmp_path / 'gone.png'}\n")
    (tmp_path / "valid.list").write_text(good)
    (tmp_path / "set.names").write_text("a\nb\nc\n")
    (tmp_path / "set.data").write_text(
        f"train={tmp_path / 'train.list'}\nvalid={tmp_path / 'valid.list'}\nnames={tmp_path / 'set.names'}\n"
    )
    train, valid = check_dataset(tmp_path / "set.data")
    problems = sorted((pathlib.Path(p.location.partition(":")[0]).name, p.message) for p in train.problems)
    assert [str(note) for note in train.notes] == [f"{good.strip()}: 2 times in train"]
    assert [name for name, _ in problems] == [
        "bare.png",
        "gone.png",
        "gone.png",
        "invalid.png",
        "invalid.txt",
        "torn.jpg",
    ]
    texts = " | ".join(text for _, text in problems)
    for words in ("no label file", "class 7, but the network has 3", "centre 1.5", "No such file"):
        assert words in texts
    assert train.summary == "train: 6 images, 2 without objects, 4 objects, 2 of 3 classes"
    assert [line.split() for line in train.class_lines()] == [["0", "a", "3"], ["1", "b", "1"], ["2", "c", "0"]]
    assert [p.message for p in valid.problems] == ["in train and in valid"]
    quick = check_dataset(tmp_path / "set.data", decode=False)[0]
    assert {p.message for p in train.problems} - {p.message for p in quick.problems} == {dict(problems)["torn.jpg"]}


def test_a_list_that_is_used_twice_is_reported_once(tmp_path: pathlib.Path) -> None:
    (tmp_path / "train.list").write_text(image(tmp_path / "good.png"))
    (tmp_path / "set.data").write_text(f"train={tmp_path / 'train.list'}\n")
    (only,) = check_dataset(tmp_path / "set.data", classes=1)
    assert not only.problems


def test_progress_gets_every_image_once(tmp_path: pathlib.Path) -> None:
    (tmp_path / "train.list").write_text(image(tmp_path / "a.png") * 2 + image(tmp_path / "b.png"))
    (tmp_path / "set.data").write_text(f"train={tmp_path / 'train.list'}\n")
    seen: list[str] = []

    def progress(images: Iterable[str]) -> Iterable[str]:
        for path in images:
            seen.append(pathlib.Path(path).name)
            yield path

    check_dataset(tmp_path / "set.data", progress=progress)
    assert seen == ["a.png", "b.png"]


def test_a_classifiers_data_is_checked_by_its_labels(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "classification"
    folder.mkdir()
    images = [image(folder / f"{number}_{name}.png", None) for number, name in enumerate(("cat", "dog", "dog"))]
    (tmp_path / "cls.labels").write_text("cat\ndog\nbird\n")
    (tmp_path / "train.list").write_text("".join(images))
    (tmp_path / "cls.data").write_text(f"train={tmp_path}/train.list\nlabels={tmp_path}/cls.labels\n")
    assert cli.main(["check", str(tmp_path / "cls.data"), "--per-class"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ok     train: 3 images, 2 of 3 classes"
    assert [line.split() for line in lines[1:4]] == [["0", "cat", "1"], ["1", "dog", "2"], ["2", "bird", "0"]]
    assert lines[4].startswith("note   2 images have several labels in their path, of which whole words are preferred")
    assert len(lines) == 5


def test_repeated_lines_are_a_note_for_train_and_wrong_for_valid(tmp_path: pathlib.Path) -> None:
    a, b = image(tmp_path / "a.png"), image(tmp_path / "b.png")
    (tmp_path / "train.list").write_text(a * 3)
    (tmp_path / "valid.list").write_text(b * 2)
    (tmp_path / "set.data").write_text(f"train={tmp_path}/train.list\nvalid={tmp_path}/valid.list\n")
    train, valid = check_dataset(tmp_path / "set.data")
    assert ([n.message for n in train.notes], train.problems) == (["3 times in train"], ())
    assert (valid.notes, [p.message for p in valid.problems]) == ((), ["2 times in valid"])
    (tmp_path / "set.data").write_text(f"train={tmp_path}/train.list\nvalid={tmp_path}/train.list\n")
    (both,) = check_dataset(tmp_path / "set.data")
    assert [n.message for n in both.notes] == ["3 times in train", "train and valid are the same images"]
    assert [p.message for p in both.problems] == ["3 times in valid"]


def test_images_of_any_number_of_channels_are_accepted_without_a_network(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((8, 8, 7), np.uint8))
    (tmp_path / "a.txt").write_text("0 .5 .5 .5 .5\n")
    assert cli.main(["check", str(tmp_path)]) == 0
    head = "[yolo]\nclasses=1\nnum=3\nanchors=4,4,8,8,16,16\n"
    text = f"[net]\nwidth=32\nheight=32\nchannels={{}}\n[convolutional]\nfilters=18\n{head}"
    (tmp_path / "7.cfg").write_text(text.format(7))
    (tmp_path / "3.cfg").write_text(text.format(3))
    assert cli.main(["check", str(tmp_path), str(tmp_path / "7.cfg")]) == 0
    out = capsys.readouterr().out
    assert "7.cfg: 1 classes, 7 channels" in out
    assert "3 anchors, avg IoU 100.00% with the objects" in out
    assert cli.main(["check", str(tmp_path), str(tmp_path / "3.cfg")]) == 1
    assert "expected an image of 3 channels, as the network reads, found 7" in capsys.readouterr().out


def test_a_cfg_after_the_data_set_is_checked_against_it(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "valid.list").write_text(image(tmp_path / "a.png", "1 .5 .5 .5 .5\n"))
    (tmp_path / "set.names").write_text("a\nb\nc\n")
    (tmp_path / "set.data").write_text(f"valid={tmp_path}/valid.list\nnames={tmp_path}/set.names\n")
    assert cli.main(["check", str(tmp_path / "set.data"), str(tmp_path / "none.cfg")]) == 1
    assert "none.cfg: no such file" in capsys.readouterr().err
    (tmp_path / "my.cfg").write_text(
        "[net]\nwidth=32\nheight=32\nchannels=3\n[convolutional]\nfilters=6\n[yolo]\nclasses=1\nnum=1\nanchors=4,4\n"
    )
    assert cli.main(["check", str(tmp_path / "set.data"), str(tmp_path / "my.cfg")]) == 1
    out = capsys.readouterr().out
    assert "class 1, but the network has 1 classes" in out
    assert "my.cfg: 1 classes, but the data set has 3 class names" in out
    assert cli.main(["check", str(tmp_path / "set.data"), str(tmp_path / "my.cfg"), "--max-bytes", "9"]) == 1
    assert "(max_bytes)" in capsys.readouterr().err


def test_the_cfg_of_a_name_is_found_without_a_download(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalogue, "fetch", lambda *_: pytest.fail("a download"))
    (tmp_path / "valid.list").write_text(image(tmp_path / "a.png", "1 .5 .5 .5 .5\n"))
    (tmp_path / "set.data").write_text(f"classes=80\nvalid={tmp_path}/valid.list\n")
    assert cli.main(["check", str(tmp_path / "set.data"), "yolov4-tiny"]) == 0
    assert "yolov4-tiny: 80 classes, 3 channels" in capsys.readouterr().out


_DETECTOR = "[net]\nwidth=32\nheight=32\nchannels=3\n[convolutional]\nfilters=21\nsize=1\n[yolo]\nclasses=2\nnum=3\n"


@pytest.mark.parametrize(
    ("classes", "wrong"),
    [
        ("2", []),
        ("3", ["set.data: classes=3, but there are 2 class names"]),
        ("x", ["set.data: classes: expected an integer, got a word of 1 character"]),
    ],
)
def test_the_number_of_classes_is_that_of_the_names(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    classes: str,
    wrong: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("list").write_text(image(tmp_path / "a.png"))
    pathlib.Path("set.names").write_text("a\nb\n")
    pathlib.Path("set.data").write_text(f"classes={classes}\ntrain=list\nvalid=list\nnames=set.names\n")
    assert cli.main(["check", "set.data"]) == bool(wrong)
    captured = capsys.readouterr()
    assert [line for line in wrong if captured.out.count(line) + captured.err.count(line) != 1] == []


def test_the_number_of_classes_is_that_of_every_head(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("list").write_text(image(tmp_path / "a.png"))
    pathlib.Path("set.data").write_text("classes=3\ntrain=list\n")
    pathlib.Path("a.cfg").write_text(_DETECTOR)
    assert cli.main(["check", "set.data", "a.cfg"]) == 1
    assert "wrong  set.data: classes=3, but the network has 2 classes" in capsys.readouterr().out
    pathlib.Path("set.names").write_text("a\nb\n")
    pathlib.Path("set.data").write_text("classes=2\ntrain=list\nnames=set.names\n")
    assert cli.main(["check", "set.data", "a.cfg"]) == 0
    head = "[route]\nlayers=0\n[convolutional]\nfilters=24\nsize=1\n[yolo]\nclasses=3\nnum=3\n"
    pathlib.Path("a.cfg").write_text(_DETECTOR.replace("[yolo]", f"{head}[route]\nlayers=0\n[yolo]"))
    capsys.readouterr()
    assert cli.main(["check", "set.data", "a.cfg"]) == 1
    out = capsys.readouterr().out
    assert "wrong  a.cfg: 3, 2 classes, but the data set has 2 class names" in out
    assert "note   a.cfg: no head has an anchor of an anchors= list" in out
