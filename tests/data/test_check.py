"""Checking a data set reports every problem once."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

from darknet_py import cli
from darknet_py.data.check import check_dataset


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
    assert [name for name, _ in problems] == [
        "bare.png",
        "gone.png",
        "gone.png",
        "good.png",
        "invalid.png",
        "invalid.txt",
        "torn.jpg",
    ]
    texts = " | ".join(text for _, text in problems)
    for words in ("no label file", "2 times in train", "class 7, but the network has 3", "centre 1.5", "No such file"):
        assert words in texts
    assert train.summary == "train: 6 images, 2 of them without objects, 4 objects, 2 of 3 classes"
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
