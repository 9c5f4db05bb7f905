"""Which label file or annotation belongs to an image."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import pytest

from darknet_py import cli
from darknet_py.data import label_finder
from darknet_py.data.check import check_dataset
from darknet_py.data.formats import load_dataset, load_subsets
from darknet_py.data.label_finder import LabelFinder
from darknet_py.data.labels import candidate_label_paths
from tests.helpers.data_files import rounded_targets, write_image, write_text

LINE = "0 .5 .5 .5 .5"
TARGET = [[0.5, 0.5, 0.5, 0.5, 0.0]]


@pytest.fixture
def is_case_sensitive(tmp_path: pathlib.Path) -> None:
    write_text(tmp_path / "case", "")
    if (tmp_path / "CASE").exists():
        pytest.skip("the file system does not tell .txt from .TXT")


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("a/1.png", "a/1.txt"),
        ("a/1.png", "a/1.TXT"),
        ("images/b/1.JPG", "labels/b/1.txt"),
        ("images/b/1.JPG", "labels/b/1.TXT"),
        ("images/train2017/1.jpg", "labels/train2017/1.txt"),
        ("JPEGImages/1.jpg", "JPEGImages/1.txt"),
        ("1.jpg", "1.txt"),
        ("a.b/1.2.jpg", "a.b/1.2.txt"),
        ("a/.jpg", "a/.jpg.txt"),
        ("a/1", "a/1.txt"),
        ("a/1.jpg ", "a/1.txt"),
        ("images\\1.jpg", "labels/1.txt"),
    ],
)
def test_label_files_are_found_as_one_by_one(
    image: str, label: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(label_finder, "_SEARCHED_AFTER", 2)
    write_text(pathlib.Path(label), LINE)
    finder = LabelFinder()
    missing = image.replace("1", "2")
    for name in (missing, missing, image, missing, image):
        expected = next(filter(os.path.isfile, candidate_label_paths(name)), None)
        found = finder.find(name)
        assert (found and found[0]) == expected
    assert found is not None
    assert os.path.samefile(found[0], label)


def test_folders_without_label_files_are_listed_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "labels" / "7.txt", LINE)
    (tmp_path / "images").mkdir()
    tried: list[str] = []
    stat, listdir = os.stat, os.listdir

    def logged_stat(path: Any, **options: Any) -> os.stat_result:
        tried.append(str(path))
        return stat(path, **options)

    def logged_listdir(path: Any) -> list[Any]:
        tried.append(f"list {path}")
        return listdir(path)

    monkeypatch.setattr(label_finder, "_SEARCHED_AFTER", 3)
    monkeypatch.setattr(os, "stat", logged_stat)
    monkeypatch.setattr(os, "listdir", logged_listdir)
    finder = LabelFinder()
    for number in range(9):
        finder.find(f"{tmp_path}/images/{number}.jpg")
    monkeypatch.undo()
    beside = [name.removeprefix(f"{tmp_path}/images/") for name in tried if "/images/" in name]
    assert beside == ["0.txt", "0.TXT", "1.txt", f"list {tmp_path}/images/"]


@pytest.mark.usefixtures("is_case_sensitive")
def test_labels_with_a_suffix_in_capitals_are_read_and_named_by_check(tmp_path: pathlib.Path) -> None:
    for number in range(2):
        write_image(tmp_path / f"{number}.png")
        write_text(tmp_path / f"{number}.TXT", LINE)
    assert rounded_targets(load_dataset(tmp_path)) == [TARGET, TARGET]
    (report,) = check_dataset(tmp_path)
    assert not report.problems
    assert {note.kind for note in report.notes} == {"label files end in .TXT"}


@pytest.mark.usefixtures("is_case_sensitive")
def test_check_names_shared_and_unread_label_files(tmp_path: pathlib.Path) -> None:
    for name in ("1.png", "1.PNG"):
        write_image(tmp_path / "images" / name)
    write_text(tmp_path / "images" / "1.txt", LINE)
    write_text(tmp_path / "labels" / "1.txt", LINE)
    (report,) = check_dataset(tmp_path / "images")
    assert not report.problems
    first, second = (str(tmp_path / "images" / name) for name in ("1.PNG", "1.png"))
    label = str(tmp_path / "images" / "1.txt")
    unread = f"{tmp_path / 'labels' / '1.txt'}: not read, as {label} is the label file"
    assert [str(note) for note in report.notes] == [unread, f"{second}: has the label file of {first}: {label}"]


def test_a_path_that_is_listed_with_its_suffix_in_both_cases_is_named(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = write_image(tmp_path / "set" / "a.png")
    write_text(tmp_path / "set" / "a.txt", LINE)
    path = write_text(tmp_path / "list.txt", "set/a.png\nset/a.PNG\nset\\a.png\n")
    (report,) = check_dataset(path)
    assert [str(note) for note in report.notes] == [f"{image}: 3 times in train"]
    assert f"{path}: set/a.PNG is not there; using {image}, and 1 more likewise" in caplog.messages


def annotation(name: str, filename: str = "") -> str:
    box = "<bndbox><xmin>11</xmin><ymin>6</ymin><xmax>31</xmax><ymax>16</ymax></bndbox>"  # of 40 x 20 pixels
    size = "<size><width>40</width><height>20</height></size>"
    return f"<annotation><filename>{filename}</filename>{size}<object><name>{name}</name>{box}</object></annotation>"


LAYOUTS = {
    "beside": ("a.png", "a.xml", "b.png", "b.xml"),
    "Roboflow": ("train/a.jpg", "train/a.xml", "valid/b.jpg", "valid/b.xml"),
    "Kaggle": ("images/a.png", "annotations/a.xml", "images/b.png", "annotations/b.xml"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_voc_annotations_outside_of_vocs_layout_are_read(layout: str, tmp_path: pathlib.Path) -> None:
    first, one, second, other = (tmp_path / name for name in LAYOUTS[layout])
    for image, xml, name in ((first, one, "kiwi"), (second, other, "fig")):
        write_image(image)
        write_text(xml, annotation(name))
    subsets = load_subsets(tmp_path)
    assert list(subsets) == (["train", "valid"] if layout == "Roboflow" else ["train"])
    found = {sample.image: sample.targets.tolist() for dataset in subsets.values() for sample in dataset}
    assert found == {str(first): [[0.5, 0.5, 0.5, 0.5, 1.0]], str(second): [[0.5, 0.5, 0.5, 0.5, 0.0]]}
    assert {dataset.names for dataset in subsets.values()} == {("fig", "kiwi")}
    assert not any(dataset.problems for dataset in subsets.values())


def test_an_annotation_names_an_image_of_another_name(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "photo.png")
    write_text(tmp_path / "1.xml", annotation("kiwi", "photo.png"))
    assert [sample.image for sample in load_dataset(tmp_path)] == [image]


def test_label_files_are_preferred_to_annotations_beside_them(tmp_path: pathlib.Path) -> None:
    write_image(tmp_path / "a.png")
    write_text(tmp_path / "a.xml", annotation("kiwi"))
    write_text(tmp_path / "a.txt", "3 .5 .5 .2 .2")
    assert rounded_targets(load_dataset(tmp_path)) == [[[0.5, 0.5, 0.2, 0.2, 3.0]]]


@pytest.mark.parametrize("text", ["<svg></svg>", "", "<annotation>", "<annotations></annotations>"])
def test_other_xml_beside_images_is_no_annotation(text: str, tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "b.png")
    write_text(tmp_path / "a.xml", text)
    assert [sample.image for sample in load_dataset(tmp_path)] == [image]


def test_a_list_of_images_with_annotations_says_how_they_are_read(tmp_path: pathlib.Path) -> None:
    write_image(tmp_path / "a.png")
    xml = write_text(tmp_path / "a.xml", annotation("kiwi"))
    (problem,) = load_dataset(write_text(tmp_path / "list.txt", "a.png\n")).problems
    assert problem.message.endswith(f"; {xml} is read if the folder is given instead of a list")


@pytest.mark.parametrize("name", ["set.DATA", "set.list", "SET.TXT"])
def test_check_recognises_data_sets_by_suffixes_in_capitals(name: str, tmp_path: pathlib.Path) -> None:
    write_image(tmp_path / "a.png")
    write_text(tmp_path / "a.txt", LINE)
    write_text(tmp_path / "list.txt", "a.png\n")
    path = write_text(tmp_path / name, "valid=list.txt\n" if name.endswith(".DATA") else "a.png\n")
    assert cli.main(["check", str(path)]) == 0
