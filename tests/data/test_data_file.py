"""Label files, image lists and ``.data`` files."""

from __future__ import annotations

import logging
import pathlib

import numpy as np
import pytest

from darknet_py import text_files
from darknet_py.data import data_file, labels
from darknet_py.data.dataset import load_image_list
from darknet_py.data.formats import load_dataset
from darknet_py.data.labels import Problem
from darknet_py.errors import DataError
from tests.helpers.data_files import rounded_targets, write_image, write_text


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("/a/b.jpg", "/a/b.txt"),
        ("/d/images/train2017/7.jpg", "/d/labels/train2017/7.txt"),
        ("/d/images/val2014/7.JPEG", "/d/labels/val2014/7.txt"),
        ("/d/VOC2007/JPEGImages/7.png", "/d/VOC2007/labels/7.txt"),
        (r"C:\d\images\val2017\7.jpg", r"C:\d\labels\val2017\7.txt"),
        ("/d/images/7.jpg", "/d/images/7.txt"),  # Darknet has disabled its general rule
        ("/d/JPEGImages/JPEGImages/7.jpg", "/d/labels/JPEGImages/7.txt"),  # only the first of each
        ("/d/my.jpg.files/7.jpg.jpg", "/d/my.jpg.files/7.jpg.txt"),  # only the extension at the end
        ("  /d/7.jpg\t", "/d/7.txt"),
        ("/d.v2/7", "/d.v2/7.txt"),
    ],
)
def test_label_paths_equal_darknets(image: str, expected: str) -> None:
    assert labels.label_path(image) == expected


def test_other_candidates_are_the_labels_folder_and_the_images_folder() -> None:
    for image, first, second in (
        ("/d/images/x/images/7.jpg", "/d/images/x/images/7", "/d/images/x/labels/7"),
        ("/d/JPEGImages/7.jpg", "/d/labels/7", "/d/JPEGImages/7"),
        ("images/a/7.jpg", "images/a/7", "labels/a/7"),
    ):
        candidates = [f"{stem}{suffix}" for suffix in (".txt", ".TXT") for stem in (first, second)]
        assert labels.candidate_label_paths(image) == candidates


_GOOD = "1 0.5 0.5 0.25 0.5"


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("", 0, []),
        (f"{_GOOD}\r\n\r\n 2\t.5 .5 .1 .1 \r\n", 2, []),
        (
            f"{_GOOD}\n80 .5 .5 .1 .1\n{_GOOD[:-1]}4\n",
            2,
            ["2: class 80, but the network has 80 classes (0..79); ignored"],
        ),
        ("-1 .5 .5 .1 .1", 0, ["1: class -1, expected 0 or more; ignored"]),
        ("1 .5 1.5 .1 .1", 1, ["1: centre 0.5 1.5, expected 0..1 of the image"]),
        ("1 .5 .5 .1 0", 1, ["1: size 0.1 0, expected 0..1 of the image"]),
        ("1 nan .5 .1 .1", 0, ["1: a coordinate is NaN or Inf; ignored"]),
        (f"{_GOOD}\n{_GOOD}", 2, ["2: duplicate of line 1"]),
        (f"{_GOOD}\ncat .5 .5 .1 .1\n{_GOOD}", 1, ["2: expected `class x y w h`, found 5 words, 4 of them numbers"]),
        (f"{_GOOD} .9\n{_GOOD}", 1, ["1: expected 4 numbers after the class, found 5: ignored"]),
        (
            f"0 .1 .1 .9 .1 .5 .9\n{_GOOD}",
            1,
            [
                "1: expected 4 numbers after the class, found 6: ignored; "
                "a polygon gives its bounding box with --polygons"
            ],
        ),
        (f"{_GOOD} # bus\n{_GOOD}", 1, ["1: expected the end of the line, found a word of 1 character"]),
        ("1 .5 .5 .1", 0, ["1: expected `class x y w h`, found 4 words, 4 of them numbers"]),
    ],
)
def test_invalid_labels_are_reported_with_file_and_line(
    tmp_path: pathlib.Path, text: str, count: int, expected: list[str]
) -> None:
    path = write_text(tmp_path / "7.txt", text)
    problems: list[Problem] = []
    rows = labels.read_label_file(path, problems.append, labels.LabelOptions(80))
    assert rows.shape == (count, 5)
    assert rows.dtype == np.float32
    assert len(problems) == len(expected)
    for problem, message in zip(problems, expected, strict=True):
        assert str(problem).startswith(f"{path}:{message}")


def test_a_polygon_gives_its_bounding_box_on_request(tmp_path: pathlib.Path) -> None:
    write_image(tmp_path / "7.png")
    write_text(tmp_path / "7.txt", "3 .1 .3 .5 .2 .4 .9\n0 .5 .5 .2 .2 .9\n1 .5 .5 .2 .2")
    dataset = load_dataset(tmp_path)
    assert rounded_targets(dataset) == [[[0.5, 0.5, 0.2, 0.2, 1.0]]]
    assert [problem.location.rpartition(":")[2] for problem in dataset.problems] == ["1", "2"]
    dataset = load_dataset(tmp_path, polygons=True)
    assert rounded_targets(dataset) == [[[0.3, 0.55, 0.4, 0.7, 3.0], [0.5, 0.5, 0.2, 0.2, 1.0]]]
    assert [problem.location.rpartition(":")[2] for problem in dataset.problems] == ["2"]


def test_problems_of_one_kind_are_one_line_with_their_number(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(30):
        write_image(tmp_path / f"{number:02}.png")
    with caplog.at_level(logging.WARNING):
        labels.log_problems(load_dataset(tmp_path).problems)
    (message,) = caplog.messages
    assert message.startswith("30 images have no label file and are treated as images without objects; the first: ")
    assert message.endswith(f"tried {tmp_path / '00.txt'}, {tmp_path / '00.TXT'}")


def test_a_missing_label_file_is_reported_once_with_the_paths_tried(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "images" / "7.png")
    dataset = load_image_list([image, image])
    assert [len(sample.targets) for sample in dataset] == [0, 0]
    (problem,) = dataset.problems
    for path in ("images/7.txt", "labels/7.txt"):
        assert str(tmp_path / path) in str(problem)


def test_a_data_file_is_loaded(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    image = write_image(tmp_path / "p" / "a b.png")
    write_text(tmp_path / "p" / "a b.txt", _GOOD)
    write_text(tmp_path / "hard" / "a b.txt", "0 .1 .1 .1 .1\n3 .2 .2 .1 .1")
    write_text(tmp_path / "d" / "valid.txt", f"{image}\r\n\n")
    write_text(tmp_path / "d" / "hard.txt", str(tmp_path / "hard" / "a b.png"))
    write_text(tmp_path / "my.names", "cat\ndog\n\n")
    text = "# of\n; comments\nvalid = d/valid.txt\nvalid = other\ndifficult= d/hard.txt\n\nnames =my.names\ntop=x\n"
    path = write_text(tmp_path / "my.data", text)
    dataset = data_file.load_data_file(path, options=labels.LabelOptions(2))
    assert dataset.names == ("cat", "dog")
    assert rounded_targets(dataset) == [[[0.5, 0.5, 0.25, 0.5, 1.0]]]
    assert [len(sample.ignored) for sample in dataset] == [1]
    assert [problem.message for problem in dataset.problems] == [
        "class 3, but the network has 2 classes (0..1); ignored"
    ]
    with pytest.raises(DataError, match="top: expected an integer, got a word of 1 character"):
        data_file.read_data_file(path).get_int("top", 1)
    with pytest.raises(DataError, match=r"expected a line `results = \.\.\.`"):
        data_file.read_data_file(path)["results"]


def test_paths_of_a_list_are_relative_to_the_working_directory_or_to_the_list(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "set" / "images" / "a.png")
    listed = write_text(tmp_path / "set" / "list.txt", "images/a.png\nimages/none.png")
    monkeypatch.chdir(tmp_path)
    assert text_files.read_list(listed) == [str(tmp_path / "set" / "images" / "a.png"), "images/none.png"]
    monkeypatch.chdir(tmp_path / "set")
    assert text_files.read_list("list.txt")[0] == "images/a.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [("train data.txt", ":1: expected `key = value`, got 2 words, 0 of them numbers"), ("names=x", "`train = ...`")],
)
def test_the_error_names_a_missing_entry(tmp_path: pathlib.Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message.replace("...", r"\.\.\.")):
        data_file.load_data_file(write_text(tmp_path / "my.data", text))


def test_darknets_own_files_are_those_of_the_system_if_there_are_no_others(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As data/9k.names of combine9k.data, which Debian's package has in /usr/share/darknet/data."""
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "share"))
    write_text(tmp_path / "my.data", "names = data/9k.names\n")
    settings = data_file.read_data_file(tmp_path / "my.data")
    with pytest.raises(DataError, match=r"names: no such file or folder: 'data/9k\.names'; tried data/9k\.names"):
        settings.get_path("names")
    for place in ("share/darknet/data", "data"):
        path = tmp_path / place / "9k.names"
        path.parent.mkdir(parents=True)
        write_text(path, "thing\n")
        assert settings.get_path("names") == str(path)
    (message,) = caplog.messages
    assert message == f"{tmp_path}/my.data: data/9k.names is not there; using {tmp_path}/share/darknet/data/9k.names"


def test_difficult_lists_must_be_parallel() -> None:
    with pytest.raises(DataError, match="2 images, but 1 in the list of difficult objects"):
        load_image_list(["a.jpg", "b.jpg"], ["a.jpg"])


def test_only_the_first_problems_are_logged_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        labels.log_problems(Problem(f"{n}.txt", "odd") for n in range(labels.MAX_LOGGED + 3))
    assert len(caplog.messages) == labels.MAX_LOGGED + 1
    assert caplog.messages[0] == "0.txt: odd"
    assert caplog.messages[-1] == "... and 3 more problems"
