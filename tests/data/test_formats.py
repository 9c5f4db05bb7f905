"""Data sets in the formats of Darknet, Ultralytics, COCO and Pascal VOC."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from darknet_py.data import data_yaml
from darknet_py.data.formats import load_dataset
from darknet_py.data.voc import VOC_CLASSES
from darknet_py.errors import DataError
from tests.helpers.data_files import rounded_targets, write_image, write_text


@pytest.mark.parametrize(
    "names",
    [
        "names: ['traffic light', \"it's\", c#]  # three",
        'names: {0: traffic light, 1: "it\'s", 2: c#}',
        "names:\n  0: traffic light\n  2: c#\n  1: it's\n",
        "names:\n- traffic light\n- 'it''s'  # quoted\n- c#",
        "names: [\n  traffic light,\n  it's,\n  c#,\n]",
    ],
)
def test_names_in_a_data_yaml_have_several_forms(tmp_path: pathlib.Path, names: str) -> None:
    write_image(tmp_path / "images" / "val" / "deep" / "1.png")
    write_text(tmp_path / "labels" / "val" / "deep" / "1.txt", "2 .5 .5 .5 .5")
    path = write_text(
        tmp_path / "data.yaml", f"# a set\npath: .\ntrain: images/train\nval: images/val # here\nnc: 3\n{names}\n"
    )
    dataset = load_dataset(path)
    assert dataset.names == ("traffic light", "it's", "c#")
    assert rounded_targets(dataset) == [[[0.5, 0.5, 0.5, 0.5, 2.0]]]
    assert not dataset.problems


def test_roboflows_paths_with_one_parent_too_many_are_resolved(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "valid" / "images" / "1.jpg")
    write_text(tmp_path / "valid" / "labels" / "1.txt", "0 .5 .5 .5 .5")
    dataset = load_dataset(
        write_text(tmp_path / "data.yaml", "train: ../train/images\nval: ../valid/images\nnames: ['a']\n")
    )
    assert [pathlib.Path(sample.image) for sample in dataset] == [pathlib.Path(image)]
    assert rounded_targets(dataset) == [[[0.5, 0.5, 0.5, 0.5, 0.0]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("val: *here", ":1: expected plain text"),
        ("just words", ":1: expected `key: value`"),
        ("\nnames: [a,\n b", ":2: unclosed bracket"),
        ("names: [a, [b]]", ":1: expected items between commas"),
    ],
)
def test_unsupported_yaml_is_refused_with_its_line(tmp_path: pathlib.Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message.replace("[", r"\[")):
        data_yaml.read_data_yaml(write_text(tmp_path / "data.yaml", text))


def test_the_error_of_a_data_yaml_without_images_lists_the_folders_tried(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="no images; tried"):
        load_dataset(write_text(tmp_path / "data.yaml", "val: images\nnames: [a]"))


def test_coco_annotations_are_loaded(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "val2017" / "000000000042.jpg", (200, 100))
    content = {
        "images": [{"id": 42, "file_name": "000000000042.jpg", "width": 200, "height": 100}],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"image_id": 42, "category_id": 90, "bbox": [20, 10, 40, 50], "iscrowd": 0},
            {"image_id": 42, "category_id": 1, "bbox": [0, 0, 200, 100], "iscrowd": 1},
        ],
    }
    path = write_text(tmp_path / "annotations" / "instances_val2017.json", json.dumps(content))
    dataset = load_dataset(path)
    assert dataset.names == ("person", "toothbrush")
    assert dataset.categories == (1, 90)
    (sample,) = dataset
    assert sample.image == image
    assert sample.image_id == 42
    assert np.round(sample.targets.astype(float), 4).tolist() == [[0.2, 0.35, 0.2, 0.5, 1.0]]
    assert sample.ignored.tolist() == [[0.5, 0.5, 1.0, 1.0, 0.0]]


@pytest.mark.parametrize("text", ["{", "[]", '{"images": []}', '{"images": [{"id": 1}], "categories": []}'])
def test_other_json_is_refused(tmp_path: pathlib.Path, text: str) -> None:
    with pytest.raises(DataError, match="expected COCO's annotations"):
        load_dataset(write_text(tmp_path / "a.json", text))


_OBJECT = (
    "<object><name>{name}</name><difficult>{hard}</difficult>"
    "<bndbox><xmin>21</xmin><ymin>11</ymin><xmax>61</xmax><ymax>61</ymax></bndbox></object>"
)


def _annotation(*objects: str) -> str:
    return f"<annotation><size><width>200</width><height>100</height></size>{''.join(objects)}</annotation>"


def test_a_voc_folder_is_loaded(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "JPEGImages" / "000007.jpg")
    content = _annotation(_OBJECT.format(name="dog", hard=0), _OBJECT.format(name="cat", hard=1))
    write_text(tmp_path / "Annotations" / "000007.xml", content)
    write_text(tmp_path / "ImageSets" / "Main" / "val.txt", "000007\n000008\n")
    dataset = load_dataset(tmp_path)
    assert dataset.names == VOC_CLASSES
    first, second = dataset
    assert first.image == image
    assert np.round(first.targets.astype(float), 4).tolist() == [[0.2, 0.35, 0.2, 0.5, 11.0]]
    assert np.round(first.ignored[:, 4]).tolist() == [7.0]
    assert len(second.targets) == 0
    assert [problem.location for problem in dataset.problems] == [str(tmp_path / "Annotations" / "000008.xml")]


def test_classes_of_another_voc_folder_are_the_names_that_occur(tmp_path: pathlib.Path) -> None:
    (tmp_path / "JPEGImages").mkdir()
    write_text(tmp_path / "Annotations" / "1.xml", _annotation(_OBJECT.format(name="zebra", hard=0)))
    write_text(tmp_path / "Annotations" / "2.xml", _annotation(_OBJECT.format(name="ant", hard=0)))
    dataset = load_dataset(tmp_path)
    assert dataset.names == ("ant", "zebra")
    assert [sample.targets[0, 4] for sample in dataset] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "a VOC annotation without a DTD"),
        ("<annotation>", "expected a VOC annotation"),
        (_annotation("<object><name>a</name></object>"), "expected a VOC annotation"),
    ],
)
def test_invalid_voc_annotations_are_refused(tmp_path: pathlib.Path, text: str, message: str) -> None:
    (tmp_path / "JPEGImages").mkdir()
    write_text(tmp_path / "Annotations" / "1.xml", text)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path)


def test_folders_and_lists_of_images_are_loaded(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "p" / "1.png")
    write_text(tmp_path / "p" / "1.txt", "1 0.5 0.5 0.25 0.5")
    for source in (tmp_path / "p", write_text(tmp_path / "a.list", image), write_text(tmp_path / "a.txt", image)):
        assert rounded_targets(load_dataset(source)) == [[[0.5, 0.5, 0.25, 0.5, 1.0]]]
    with pytest.raises(DataError, match=r"expected a .data, .txt, .list, .yaml or .json file, or a folder"):
        load_dataset(tmp_path / "a.csv")
