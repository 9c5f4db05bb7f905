"""Folders of images with label files and class names beside them."""

from __future__ import annotations

import json
import pathlib

import pytest

from darknet_py.data.formats import load_dataset, load_subsets
from darknet_py.errors import DataError
from tests.helpers.data_files import coco_content, rounded_targets, write_image, write_text


def write_images(folder: pathlib.Path, labels: pathlib.Path) -> None:
    """Write two images with one object of class 1 each."""
    for path in (folder, labels):
        path.mkdir(parents=True, exist_ok=True)
    for name in ("a", "b"):
        write_image(folder / f"{name}.png")
        (labels / f"{name}.txt").write_text("1 0.5 0.5 0.5 0.5\n")


@pytest.mark.parametrize(
    ("images", "labels", "names"),
    [
        ("", "", "classes.txt"),  # labelImg
        ("images", "labels", "classes.txt"),  # Label Studio
        ("images", "labels", "images/classes.txt"),
        ("", "", "_darknet.labels"),  # Roboflow
    ],
)
def test_class_names_beside_a_folder_of_images_are_read(
    tmp_path: pathlib.Path, images: str, labels: str, names: str
) -> None:
    write_images(tmp_path / images, tmp_path / labels)
    (tmp_path / names).write_text("cat\ndog\nowl\n")
    dataset = load_dataset(tmp_path)
    assert dataset.names == ("cat", "dog", "owl")
    assert [len(sample.targets) for sample in dataset] == [1, 1]


def test_a_folder_without_images_names_the_descriptions_in_it(tmp_path: pathlib.Path) -> None:
    write_images(tmp_path / "images" / "train", tmp_path / "labels" / "train")
    (tmp_path / "one.yaml").write_text("train: images/train\nnames: [a, b]\n")
    assert load_dataset(tmp_path, "train").names == ("a", "b")
    (tmp_path / "two.yaml").write_text("train: images/train\nnames: [a, b]\n")
    with pytest.raises(DataError, match=r"no images: name the file that is meant, of one\.yaml, two\.yaml"):
        load_dataset(tmp_path, "train")
    (tmp_path / "two.yaml").unlink()
    (tmp_path / "one.yaml").write_text("something: else\n")
    with pytest.raises(DataError, match=r"name the file that is meant, of one\.yaml"):
        load_dataset(tmp_path, "train")


@pytest.mark.parametrize("name", ["labels.json", "annotations/instances_default.json", "project-1-at-2026.json"])
@pytest.mark.parametrize("images", ["", "images"])
def test_the_only_annotations_of_a_folder_are_read_whatever_their_name(
    tmp_path: pathlib.Path, name: str, images: str
) -> None:
    image = write_image(tmp_path / images / "1.png", (200, 100))
    content: object = coco_content([{"image_id": 1, "category_id": 1, "bbox": [20, 10, 40, 50]}])
    if name.startswith("project"):  # Label Studio's
        value = {"x": 10, "y": 10, "width": 20, "height": 50, "rectanglelabels": ["dog"]}
        result = {"type": "rectanglelabels", "original_width": 200, "original_height": 100, "value": value}
        content = [{"data": {"image": "/data/upload/1/0a1b2c3d-1.png"}, "annotations": [{"result": [result]}]}]
    path = write_text(tmp_path / name, json.dumps(content))
    write_text(tmp_path / "settings.json", '{"size": [1, 2]}')
    for dataset in (load_dataset(tmp_path), load_subsets(tmp_path)["train"]):
        assert rounded_targets(dataset) == [[[0.2, 0.35, 0.2, 0.5, 0.0]]]
        assert pathlib.Path(dataset[0].image).samefile(image)
    write_text(tmp_path / "other.json", path.read_text())
    (problem,) = [problem for problem in load_dataset(tmp_path).problems if problem.location == str(tmp_path)]
    files = ", ".join(sorted((name, "other.json"), key=lambda file: ("/" in file, file)))
    assert problem.message == f"no label files beside the images: is one of {files} meant? Then name it"
    write_text(pathlib.Path(image).with_suffix(".txt"), "1 .5 .5 .5 .5")  # label files come first
    (tmp_path / "other.json").unlink()
    assert rounded_targets(load_dataset(tmp_path)) == [[[0.5, 0.5, 0.5, 0.5, 1.0]]]
