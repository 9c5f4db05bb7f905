"""Annotations as CVAT, LabelMe and Label Studio export them, after the documentation of these tools."""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any

import pytest

from darknet_py.data.dataset import Dataset
from darknet_py.data.formats import load_dataset, load_subsets
from darknet_py.errors import DataError
from tests.helpers.data_files import rounded_targets, write_image, write_text

BOX = [0.2, 0.35, 0.2, 0.5]  # (20, 10) to (60, 60) of 200 x 100 pixels


def messages(dataset: Dataset) -> list[str]:
    return [problem.message for problem in dataset.problems]


def cvat(*shapes: str) -> str:
    meta = "<version>1.1</version><meta><task><labels><label><name>dog</name></label></labels></task></meta>"
    image = f'<image id="0" name="a/1.png" width="200" height="100">{"".join(shapes)}</image>'
    return f"<annotations>{meta}{image}</annotations>"


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        ('<box label="dog" xtl="20" ytl="10" xbr="60" ybr="60"/>', BOX),
        # Turned by 90 degrees about its centre (40, 35): 50 wide, 40 high.
        ('<box label="dog" xtl="20" ytl="10" xbr="60" ybr="60" rotation="90.0"/>', [0.2, 0.35, 0.25, 0.4]),
        ('<polygon label="dog" points="20.0,10.0;60.0,30.0;40.0,60.0"/>', BOX),
        ('<ellipse label="dog" cx="40" cy="35" rx="20" ry="25"/>', BOX),
        ('<ellipse label="dog" cx="40" cy="35" rx="25" ry="20" rotation="90"/>', BOX),
        ('<mask label="dog" rle="3, 4" left="20" top="10" width="40" height="50" z_order="0"/>', BOX),
    ],
)
def test_shapes_of_cvat_give_their_bounding_box(tmp_path: pathlib.Path, shape: str, box: list[float]) -> None:
    image = write_image(tmp_path / "images" / "a" / "1.png", (200, 100))
    path = write_text(tmp_path / "annotations.xml", cvat(shape))
    for source in (path, tmp_path):
        dataset = load_dataset(source)
        assert (dataset.names, list(dataset.problems)) == (("dog",), [])
        assert rounded_targets(dataset) == [[[*box, 0]]]
        assert dataset[0].image == image


def test_what_cvat_has_and_is_no_box_is_reported(tmp_path: pathlib.Path) -> None:
    shapes = [
        '<points label="dog" points="1,2"/>',
        '<polyline label="dog" points="1,2;3,4"/>',
        '<skeleton label="dog"/>',
        '<tag label="sunny"/>',
        '<box label="dog" xtl="20" ytl="here" xbr="60" ybr="60"/>',
        '<polygon label="dog" points="1,2;3"/>',
        '<box label="cat" xtl="20" ytl="10" xbr="60" ybr="60"/>',
        '<box label="dog" xtl="20" ytl="10" xbr="60" ybr="60"/>',
    ]
    dataset = load_dataset(write_text(tmp_path / "a.xml", cvat(*shapes)))
    assert rounded_targets(dataset) == [[[*BOX, 0]]]
    assert [message.partition(";")[0] for message in messages(dataset)] == [
        "a shape of type 'points' has no box",
        "a shape of type 'polyline' has no box",
        "a shape of type 'skeleton' has no box",
        "a coordinate is NaN or Inf",
        "expected points x,y",
        "class 'cat' is not among the 1 classes",
    ]


def test_subsets_of_a_cvat_project_are_lists(tmp_path: pathlib.Path) -> None:
    image = '<image name="{0}.png" subset="{1}" width="9" height="9"/>'
    images = "".join(image.format(*pair) for pair in (("1", "Train"), ("2", "Validation"), ("3", "val")))
    write_text(tmp_path / "annotations.xml", f"<annotations>{images}</annotations>")
    found = {name: [pathlib.Path(s.image).stem for s in part] for name, part in load_subsets(tmp_path).items()}
    assert found == {"train": ["1"], "valid": ["3"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations><track/></annotations>", 'tracks of a video: expected an export as "CVAT for images 1.1"'),
        ("<annotation/>", "expected CVAT's <annotations>, found <annotation>"),
        ("<annotations>", "no element found"),
        ("<!DOCTYPE a []><annotations/>", "expected an annotation without a DTD"),
    ],
)
def test_other_xml_is_refused(tmp_path: pathlib.Path, text: str, message: str) -> None:
    path = write_text(tmp_path / "a.xml", text)
    with pytest.raises(DataError) as error:
        load_dataset(path)
    assert str(error.value).startswith(f"{path}: {message}")


def labelme(*shapes: dict[str, Any], **more: Any) -> str:
    content: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": "1.png",
        "imageData": None,
    }
    return json.dumps(content | {"imageHeight": 100, "imageWidth": 200} | more)


def shape(kind: str | None, *points: tuple[float, float], label: str = "dog") -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}}


@pytest.mark.parametrize(
    ("drawn", "box"),
    [
        (shape("rectangle", (60, 60), (20, 10)), BOX),  # drawn from the lower right corner
        (shape("polygon", (20, 10), (60, 30), (40, 60)), BOX),
        (shape(None, (20, 10), (60, 30), (40, 60)), BOX),  # old versions have polygons only
        (shape("circle", (40, 35), (40, 60)), [0.2, 0.35, 0.25, 0.5]),
        (shape("oriented_rectangle", (40, 10), (60, 35), (40, 60), (20, 35)), BOX),
    ],
)
def test_shapes_of_labelme_give_their_bounding_box(
    tmp_path: pathlib.Path, drawn: dict[str, Any], box: list[float]
) -> None:
    image = write_image(tmp_path / "1.png", (200, 100))
    write_text(tmp_path / "1.json", labelme(drawn))
    dataset = load_dataset(tmp_path)
    assert (dataset.names, list(dataset.problems)) == (("dog",), [])
    assert rounded_targets(dataset) == [[[*box, 0]]]
    assert dataset[0].image == image


def test_labelme_finds_images_elsewhere_and_reports_what_it_cannot_use(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "json"
    images = [write_image(tmp_path / "images" / f"{number}.png", (200, 100)) for number in (1, 2)]
    drawn = shape("rectangle", (20, 10), (60, 60))
    write_text(folder / "1.json", labelme(drawn, shape("point", (1, 1)), imagePath="..\\images\\1.png"))
    write_text(folder / "2.json", labelme(drawn, imagePath="../images/2.png", imageWidth=None))
    write_text(folder / "3.json", "{")
    write_text(folder / "4.json", labelme({"points": []}))
    write_text(folder / "5.json", labelme(drawn, imageHeight=-1))
    dataset = load_dataset(folder)
    assert [sample.image for sample in dataset][:2] == [str(folder / ".." / "images" / f"{n}.png") for n in (1, 2)]
    assert all(pathlib.Path(s.image).samefile(image) for s, image in zip(dataset, images, strict=False))
    assert rounded_targets(dataset) == [[[*BOX, 0]], [[*BOX, 0]], [], [], []]
    assert [pathlib.Path(problem.location.partition(":")[0]).name for problem in dataset.problems] == [
        *("1.json", "3.json", "4.json", "5.json"),
    ]


def test_a_broken_annotation_of_labelme_is_that_of_the_image_with_its_name(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "1.png")
    write_text(tmp_path / "1.json", '{"shapes": ')
    write_text(tmp_path / "2.json", labelme())
    sample, _ = load_dataset(tmp_path)
    assert sample.image == image


def test_classes_of_labelme_are_those_of_all_subsets_or_of_labels_txt(tmp_path: pathlib.Path) -> None:
    for name, label in (("train", "zebra"), ("val", "ant")):
        write_image(tmp_path / name / "1.png")
        write_text(tmp_path / name / "1.json", labelme(shape("rectangle", (20, 10), (60, 60), label=label)))
    train, valid = load_subsets(tmp_path).values()
    assert train.names == valid.names == ("ant", "zebra")
    assert (train[0].targets[0, 4], valid[0].targets[0, 4]) == (1, 0)
    write_text(tmp_path / "labels.txt", "__ignore__\n_background_\nzebra\nant\n")
    assert load_dataset(tmp_path).names == ("zebra", "ant")


def test_a_folder_with_label_files_is_darknets(tmp_path: pathlib.Path) -> None:
    write_image(tmp_path / "1.png", (200, 100))
    write_text(tmp_path / "1.json", labelme(shape("rectangle", (20, 10), (60, 60))))
    write_text(tmp_path / "1.txt", "7 .5 .5 .5 .5")
    assert rounded_targets(load_dataset(tmp_path)) == [[[0.5, 0.5, 0.5, 0.5, 7]]]


def result(kind: str = "rectanglelabels", **value: Any) -> dict[str, Any]:
    return {"type": kind, "original_width": 200, "original_height": 100, "value": {kind: ["dog"], **value}}


def task(*results: dict[str, Any], image: str = "/data/upload/3/0a1b2c3d-1.png", **more: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"image": image}, "annotations": [{"result": list(results)}], **more}


RECTANGLE = result(x=10, y=10, width=20, height=50, rotation=0)
# Turned about its upper left corner (20, 10): the other corners are at (20 + 40 c, 10 + 40 s), ... for 30 degrees.
COS, SIN = math.cos(math.pi / 6), math.sin(math.pi / 6)
TURNED = [
    (20 + (40 * COS - 50 * SIN) / 2) / 200,
    (10 + (40 * SIN + 50 * COS) / 2) / 100,
    (40 * COS + 50 * SIN) / 200,
    (40 * SIN + 50 * COS) / 100,
]


@pytest.mark.parametrize(
    ("drawn", "box"),
    [
        (RECTANGLE, BOX),
        (result(x=10, y=10, width=20, height=50, rotation=30), TURNED),
        (result("polygonlabels", points=[[10, 10], [30, 30], [20, 60]]), BOX),
        (result("ellipselabels", x=20, y=35, radiusX=10, radiusY=25, rotation=0), BOX),
        (result("labels", x=10, y=10, width=20, height=50), BOX),  # <Labels> with <Rectangle>
    ],
)
def test_shapes_of_label_studio_give_their_bounding_box(
    tmp_path: pathlib.Path, drawn: dict[str, Any], box: list[float]
) -> None:
    image = write_image(tmp_path / "images" / "1.png", (200, 100))
    dataset = load_dataset(write_text(tmp_path / "export.json", json.dumps([task(drawn)])))
    assert (dataset.names, list(dataset.problems)) == (("dog",), [])
    assert rounded_targets(dataset) == [[[*(round(value, 4) for value in box), 0]]]
    assert dataset[0].image == image


@pytest.mark.parametrize(
    "url",
    [
        *("1.png", "/data/upload/3/0a1b2c3d-1.png", "s3://bucket/photos/1.png", "https://example.com/photos/1.png?x=1"),
        *("/data/local-files/?d=photos%2F1.png", "/data/local-files/?d=photos/1.png"),
    ],
)
def test_images_of_label_studio_are_found_by_name(tmp_path: pathlib.Path, url: str) -> None:
    image = write_image(tmp_path / "1.png")
    dataset = load_dataset(write_text(tmp_path / "export.json", json.dumps([task(RECTANGLE, image=url)])))
    assert pathlib.Path(dataset[0].image).samefile(image)


def test_tasks_of_label_studio_are_annotated_once_or_predicted_or_reported(tmp_path: pathlib.Path) -> None:
    write_image(tmp_path / "1.png")
    cancelled = [{"was_cancelled": True, "result": []}, {"result": [RECTANGLE]}, {"result": []}]
    predictions = [{"model_version": "a", "score": 0.5, "result": [RECTANGLE]}]
    choice = {"type": "choices", "value": {"choices": ["clear"]}}
    tasks = [
        task(annotations=cancelled),
        task(annotations=[], predictions=predictions),
        task(annotations=[]),
        task(choice, result("brushlabels", rle=[1]), RECTANGLE),
        task(result(x="here", y=1, width=1, height=1)),
    ]
    dataset = load_dataset(write_text(tmp_path / "export.json", json.dumps(tasks)))
    assert [len(sample.targets) for sample in dataset] == [1, 1, 0, 1, 0]
    assert [message.partition(";")[0] for message in messages(dataset)] == [
        "2 annotations: the first is used",
        "not annotated",
        "a shape of type 'brushlabels' has no box",
        "expected Label Studio's results: could not convert string to float: 'here'",
    ]


def test_json_min_of_label_studio_is_read(tmp_path: pathlib.Path) -> None:
    write_image(tmp_path / "1.png", (200, 100))
    label = RECTANGLE["value"] | {"original_width": 200, "original_height": 100}
    entry = {"image": "/data/upload/3/0a1b2c3d-1.png", "id": 7, "label": [label], "annotator": 1}
    dataset = load_dataset(write_text(tmp_path / "export.json", json.dumps([entry])))
    assert rounded_targets(dataset) == [[[*BOX, 0]]]
    assert pathlib.Path(dataset[0].image).name == "1.png"


def test_a_labeling_configuration_gives_the_order_of_label_studios_classes(tmp_path: pathlib.Path) -> None:
    write_image(tmp_path / "1.png", (200, 100))
    path = write_text(tmp_path / "export.json", json.dumps([task(RECTANGLE)]))
    write_text(
        tmp_path / "label_config.xml",
        '<View><RectangleLabels name="a"><Label value="zebra"/><Label value="dog"/></RectangleLabels></View>',
    )
    assert load_dataset(path).names == ("zebra", "dog")


@pytest.mark.parametrize(("text", "message"), [("[{]", "expected Label Studio's tasks in JSON"), ("[{}, 1]", "a list")])
def test_other_lists_are_refused(tmp_path: pathlib.Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(write_text(tmp_path / "a.json", text))


def test_classes_of_voc_are_those_of_all_lists(tmp_path: pathlib.Path) -> None:
    box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    for stem, name, subset in (("1", "zebra", "train"), ("2", "zebra", "val"), ("3", "ant", "train")):
        write_image(tmp_path / "JPEGImages" / f"{stem}.jpg")
        size = "<size><width>40</width><height>20</height></size>"
        text = f"<annotation>{size}<object><name>{name}</name>{box}</object></annotation>"
        write_text(tmp_path / "Annotations" / f"{stem}.xml", text)
        path = tmp_path / "ImageSets" / "Main" / f"{subset}.txt"
        write_text(path, (path.read_text() if path.exists() else "") + f"{stem}\n")
    train, valid = (load_dataset(tmp_path, subset) for subset in ("train", "valid"))
    assert train.names == valid.names == ("ant", "zebra")
    assert valid[0].targets[0, 4] == 1


def test_a_malformed_url_of_label_studio_is_a_missing_image(tmp_path: pathlib.Path) -> None:
    task = {"id": 1, "data": {"image": "http://[::1/1.png"}, "annotations": [{"result": []}]}
    dataset = load_dataset(write_text(tmp_path / "a.json", json.dumps([task])))
    assert [len(sample.targets) for sample in dataset] == [0]
