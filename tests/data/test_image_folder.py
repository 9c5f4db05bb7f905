"""Folders of images with label files and class names beside them."""

from __future__ import annotations

import pathlib

import pytest

from darknet_py.data.formats import load_dataset
from darknet_py.errors import DataError
from tests.helpers.data_files import write_image


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
