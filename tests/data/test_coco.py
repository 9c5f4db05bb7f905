"""COCO's annotations, as its own tools and as Roboflow and CVAT write them."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from darknet_py.data.formats import load_dataset
from darknet_py.errors import DataError
from tests.helpers.data_files import coco_content, rounded_targets, write_image, write_text


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


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", '{"images": []}', '{"images": [{"id": 1}], "categories": []}'),
        '{"images": [], "categories": [{"id": Infinity, "name": "dog"}]}',
    ],
)
def test_other_json_is_refused(tmp_path: pathlib.Path, text: str) -> None:
    with pytest.raises(DataError, match="expected COCO's annotations"):
        load_dataset(write_text(tmp_path / "a.json", text))


def test_annotations_of_coco_that_cannot_be_used_are_reported(tmp_path: pathlib.Path) -> None:
    good = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [20, 10, 40, 50]}
    bad = [
        {**good, "id": 2, "category_id": 2},
        {**good, "id": 3, "image_id": 9},
        {**good, "id": 4, "bbox": [1, 2, 3]},
        {"id": 5, "image_id": 1, "category_id": 3, "segmentation": [[1, 2, 3, 4, 5, 6]]},
        {**good, "id": 6, "bbox": [0, 0, float("inf"), 10]},
    ]
    dataset = load_dataset(write_text(tmp_path / "a.json", json.dumps(coco_content([good, *bad]))))
    assert rounded_targets(dataset) == [[[0.2, 0.35, 0.2, 0.5, 1.0]]]
    assert [str(problem).partition("a.json: ")[2] for problem in dataset.problems] == [
        "annotation 2: category 2 is not in the file; ignored",
        "annotation 3: image 9 is not in the file; ignored",
        "annotation 4: expected a bbox of 4 numbers in an image with a width and height, got [1, 2, 3]; ignored",
        "annotation 5: expected a bbox of 4 numbers in an image with a width and height, got None; ignored",
        "annotation 6: a coordinate is NaN or Inf; ignored",
    ]
    assert not dataset.annotations  # pycocotools must not read the file


def test_roboflows_category_above_all_others_is_no_class(tmp_path: pathlib.Path) -> None:
    above = {"id": 0, "name": "pets", "supercategory": "none"}
    others = [{"id": n, "name": name, "supercategory": "pets"} for n, name in ((1, "dog"), (2, "cat"))]
    content = coco_content([{"image_id": 1, "category_id": 2, "bbox": [20, 10, 40, 50]}], categories=[above, *others])
    path = write_text(tmp_path / "_annotations.coco.json", json.dumps(content))
    dataset = load_dataset(path)
    assert dataset.names == ("dog", "cat")
    assert dataset.categories == (1, 2)
    assert dataset.samples[0].targets[:, 4].tolist() == [1]
    assert [problem.message for problem in dataset.problems] == [
        "category 'pets' has no objects and is the supercategory of all others: left out"
    ]
    content["annotations"].append({"image_id": 1, "category_id": 0, "bbox": [20, 10, 40, 50]})
    assert load_dataset(write_text(path, json.dumps(content))).names == ("pets", "dog", "cat")


def test_crowds_are_objects_if_all_annotations_are_crowds(tmp_path: pathlib.Path) -> None:
    crowd = {"image_id": 1, "category_id": 1, "bbox": [20, 10, 40, 50], "iscrowd": 1}
    dataset = load_dataset(write_text(tmp_path / "a.json", json.dumps(coco_content([crowd, crowd]))))
    assert [len(sample.targets) for sample in dataset] == [2]
    assert "all 2 annotations have iscrowd=1" in str(dataset.problems[0])
    as_text = coco_content([{**crowd, "iscrowd": "1"}, {**crowd, "iscrowd": "0"}])
    text = load_dataset(write_text(tmp_path / "a.json", json.dumps(as_text)))
    assert (len(text[0].targets), len(text[0].ignored)) == (1, 1)
    mixed = load_dataset(write_text(tmp_path / "a.json", json.dumps(coco_content([crowd, {**crowd, "iscrowd": 0}]))))
    assert [(len(sample.targets), len(sample.ignored)) for sample in mixed] == [(1, 1)]
    assert mixed.annotations == mixed.source


def test_numbers_as_text_and_backslashes_of_coco_files_are_read(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "images" / "default" / "1.png", (200, 100))
    entry = {"id": "x1", "file_name": "default\\1.png", "width": 200, "height": 100}
    annotation = {"id": 1, "image_id": "x1", "category_id": "3", "bbox": [20, 10, 40, 50]}
    content = {"images": [entry], "categories": [{"id": "3", "name": "dog"}], "annotations": [annotation]}
    (sample,) = load_dataset(write_text(tmp_path / "annotations" / "instances_default.json", json.dumps(content)))
    assert (sample.image, sample.image_id) == (image, None)
    assert sample.targets[:, 4].tolist() == [0]
    content["annotations"] = None
    assert len(load_dataset(write_text(tmp_path / "a.json", json.dumps(content)))) == 1
