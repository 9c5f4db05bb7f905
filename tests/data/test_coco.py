"""COCO's annotations, as its own tools and as Roboflow and CVAT write them."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import numpy as np
import pytest

from darknet_py.data.formats import load_dataset
from darknet_py.data.segmentation import bounding_box
from darknet_py.errors import DataError
from darknet_py.evaluation.coco import evaluate_coco
from darknet_py.evaluation.detections import Detections
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
    ("text", "reason"),
    [
        ("{", "not JSON: Expecting property name enclosed in double quotes: line 1"),
        ("[]", "a value of another type ('list' object"),
        ('{"images": []}', "no 'categories'"),
        ('{"images": [{"id": 1}], "categories": []}', "no 'file_name'"),
        ('{"images": [], "categories": [{"id": Infinity, "name": "dog"}]}', "cannot convert float infinity"),
    ],
)
def test_other_json_is_refused(tmp_path: pathlib.Path, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=f"expected COCO's annotations .*: {re.escape(reason)}"):
        load_dataset(write_text(tmp_path / "a.json", text))


def test_annotations_of_coco_that_cannot_be_used_are_reported(tmp_path: pathlib.Path) -> None:
    good = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [20, 10, 40, 50]}
    bad = [
        {**good, "id": 2, "category_id": 2},
        {**good, "id": 3, "image_id": 9},
        {**good, "id": 4, "bbox": [1, 2, 3]},
        {"id": 5, "image_id": 1, "category_id": 3, "segmentation": [[1, 2, 3]]},
        {**good, "id": 6, "bbox": [0, 0, float("inf"), 10]},
    ]
    dataset = load_dataset(write_text(tmp_path / "a.json", json.dumps(coco_content([good, *bad]))))
    assert rounded_targets(dataset) == [[[0.2, 0.35, 0.2, 0.5, 1.0]]]
    assert [str(problem).partition("a.json: ")[2] for problem in dataset.problems] == [
        "annotation 2: category 2 is not in the file; ignored",
        "annotation 3: image 9 is not in the file; ignored",
        "annotation 4: expected a bbox of 4 numbers, or a segmentation, got [1, 2, 3]; ignored",
        "annotation 5: expected a bbox of 4 numbers, or a segmentation, got [[1, 2, 3]]; ignored",
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


BOX = {"image_id": 1, "category_id": 3, "bbox": [20, 10, 40, 50]}
OUTLINE = {"image_id": 1, "category_id": 3}
RIGHT = [[[0.2, 0.35, 0.2, 0.5, 1.0]]]


def _rectangle(compress: bool) -> dict[str, Any]:
    """The mask of the box in ``BOX``: columns 20..59 and rows 10..59 of 100 x 200 pixels."""
    counts = [20 * 100 + 10, *[50, 50] * 39, 50, 40 + 140 * 100]
    if not compress:
        return {"size": [100, 200], "counts": counts}
    mask = pytest.importorskip("pycocotools.mask")
    content = mask.frPyObjects({"size": [100, 200], "counts": counts}, 100, 200)
    return {"size": content["size"], "counts": content["counts"].decode()}


@pytest.mark.parametrize("compress", [False, True])
def test_annotations_without_bbox_have_the_box_of_the_mask(compress: bool, tmp_path: pathlib.Path) -> None:
    content = coco_content([OUTLINE | {"segmentation": _rectangle(compress)}])
    dataset = load_dataset(write_text(tmp_path / "a.json", json.dumps(content)))
    assert rounded_targets(dataset) == RIGHT
    assert not dataset.problems
    assert not dataset.annotations  # pycocotools needs a bbox


@pytest.mark.parametrize(
    "change",
    [
        {"segmentation": [[20, 10, 60, 10, 60, 60, 20, 60]]},
        {"segmentation": [[20, 10, 25, 60, 22, 11], [60, 30, 50, 12, 50, 13]]},
        {"segmentation": [20, 10, 60, 10, 60, 60, 20, 60]},
        {"segmentation": [[20, 10, 60, 60]], "bbox": []},
        {"segmentation": [[20, 10, 60, 60]], "bbox": None},
        {"segmentation": [], "bbox": [20, 10, 40, 50]},
        {"segmentation": [[0, 0, 1, 1]], "bbox": ["20", "10", "40", "50"]},
    ],
    ids=repr,
)
def test_annotations_have_the_bbox_or_the_box_of_their_polygons(change: Any, tmp_path: pathlib.Path) -> None:
    dataset = load_dataset(write_text(tmp_path / "a.json", json.dumps(coco_content([OUTLINE | change]))))
    assert rounded_targets(dataset) == RIGHT
    assert not dataset.problems


@pytest.mark.parametrize(
    "segmentation",
    [
        *({"size": [100, 200], "counts": counts} for counts in ([5], [-1, 20001], [20000], [2**62] * 5, "é", "PPP0")),
        *({"size": size, "counts": [0, 4]} for size in ([], [0, 0], [-2, -2], None, [2])),
        *([[]], [["a", "b"]], [[1, 2], [3]], "text", 5, [[[]]]),
    ],
    ids=repr,
)
def test_a_segmentation_without_an_object_is_reported(segmentation: Any, tmp_path: pathlib.Path) -> None:
    content = coco_content([OUTLINE | {"segmentation": segmentation}, BOX])
    dataset = load_dataset(write_text(tmp_path / "a.json", json.dumps(content)))
    assert rounded_targets(dataset) == RIGHT
    assert ["expected a bbox of 4 numbers" in problem.message for problem in dataset.problems] == [True]


def test_masks_have_the_boxes_of_pycocotools() -> None:
    mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for _ in range(200):
        pixels = np.asfortranarray(rng.random(rng.integers(1, 40, 2)) < rng.choice([0.01, 0.1, 0.5, 1]), np.uint8)
        if pixels.any():
            content = mask.encode(pixels)
            text = {"size": content["size"], "counts": content["counts"].decode()}
            assert list(bounding_box(text)) == mask.toBbox(content).tolist()


@pytest.mark.parametrize("size", [{}, {"width": 0, "height": 0}, {"width": None, "height": None}])
def test_an_image_without_a_size_is_opened(size: dict[str, Any], tmp_path: pathlib.Path) -> None:
    write_image(tmp_path / "1.png", (200, 100))
    images = [{"id": 1, "file_name": "1.png", **size}, {"id": 2, "file_name": "2.png"}]
    content = coco_content([BOX, BOX | {"image_id": 2}], images=images)
    dataset = load_dataset(write_text(tmp_path / "a.json", json.dumps(content)))
    assert rounded_targets(dataset) == [*RIGHT, []]
    assert ["the image has no width and height, and cannot be read" in str(p) for p in dataset.problems] == [True]


def test_images_and_categories_that_are_listed_twice_are_read_once(tmp_path: pathlib.Path) -> None:
    content = coco_content([BOX | {"image_id": "1"}])
    content["images"] *= 2
    content["categories"] += [{"id": 3, "name": "cat"}, {"id": 3, "name": "cow"}]
    dataset = load_dataset(write_text(tmp_path / "a.json", json.dumps(content)))
    assert rounded_targets(dataset) == RIGHT
    assert dataset.names == ("dog", "cat")
    categories, images = dataset.problems
    assert categories.message == "category 3 is 'cat' and 'cow'; the first is read"
    assert images.message.startswith("image 1 is in the file as ")


def test_images_are_found_in_fiftyones_folder_or_are_urls(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "data" / "1.png")
    content = coco_content([BOX])
    path = tmp_path / "labels.json"
    assert [s.image for s in load_dataset(write_text(path, json.dumps(content)))] == [image]
    content["images"][0]["file_name"] = "https://host/2.png"
    assert [s.image for s in load_dataset(write_text(path, json.dumps(content)))] == ["https://host/2.png"]


@pytest.mark.parametrize(
    "change",
    [
        {"id": 0},  # pycocotools takes a match with number 0 for none
        {"area": None, "iscrowd": None},
        {"image_id": "1", "category_id": "3", "bbox": ["20", "10", "40", "50"]},
    ],
    ids=repr,
)
def test_pycocotools_evaluates_annotations_with_missing_entries(change: Any, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("pycocotools")
    dataset = load_dataset(write_text(tmp_path / "a.json", json.dumps(coco_content([BOX | change]))))
    assert dataset.annotations
    boxes = np.array([[0.2, 0.35, 0.2, 0.5]], np.float32)
    confidence, size = np.array([0.9], np.float32), np.array([[200, 100]], np.int64)
    found = Detections(np.array([0], np.int64), boxes, confidence, np.array([1], np.int64), size)
    assert evaluate_coco(dataset, found, "pycocotools").statistics["AP"] == pytest.approx(1)
