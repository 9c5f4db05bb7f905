"""Data sets in the formats of Darknet, Ultralytics, COCO and Pascal VOC."""

from __future__ import annotations

import json
import os
import pathlib
import threading

import numpy as np
import pytest

from darknet_py.data import data_yaml
from darknet_py.data.formats import load_dataset
from darknet_py.data.voc import VOC_CLASSES
from darknet_py.errors import DataError
from tests.helpers.data_files import coco_content, rounded_targets, write_image, write_text


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
        ("val: *here", ":1: expected YAML: found undefined alias 'here'"),
        ("just words", "expected lines `key: value`, found a str"),
        ("\nnames: [a,\n b", ":3: expected YAML"),
        ("- a\n- b", "expected lines `key: value`, found a list"),
        ("a: b\n\tc: d", ":2: expected YAML"),
    ],
)
def test_files_that_are_no_data_yaml_are_refused_with_the_line(tmp_path: pathlib.Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        data_yaml.read_data_yaml(write_text(tmp_path / "data.yaml", text))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("val: {a: b}", "val: expected a path or a list of paths, got a dict"),
        ("val: x\nnames: [a, [b]]", "names: expected a list of names"),
        ("val: x\nnames: {a: b}", "names: expected class numbers, got a"),
        ("val: x\npath: [a]", "path: expected a folder, got a list"),
    ],
)
def test_values_of_a_data_yaml_are_checked(tmp_path: pathlib.Path, text: str, message: str) -> None:
    write_image(tmp_path / "x" / "1.png")
    with pytest.raises(DataError) as error:
        load_dataset(write_text(tmp_path / "data.yaml", text))
    assert str(error.value).startswith(f"{tmp_path / 'data.yaml'}: {message}")


def test_yaml_may_have_anchors_and_names_that_look_like_other_types(tmp_path: pathlib.Path) -> None:
    write_image(tmp_path / "images" / "a" / "1.png")
    write_image(tmp_path / "images" / "b" / "2.png")
    text = (
        "path: &root images\ntrain: &list\n  - a\n  - b\nval: *list\ndownload: |\n  import os\n  pass\n"
        "names:\n  0: no\n  1: 1.0\n  2: ~\n  10: on\n  9: 2024-01-01\n"
    )
    dataset = load_dataset(write_text(tmp_path / "data.yaml", text))
    assert [pathlib.Path(sample.image).name for sample in dataset] == ["1.png", "2.png"]
    assert dataset.names == ("no", "1.0", "~", "2024-01-01", "on")


def test_a_yaml_without_val_says_what_is_used(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image(tmp_path / "images" / "1.png")
    path = write_text(tmp_path / "data.yaml", "train: images\nval:  # none yet\nnames: [a]\n")
    with caplog.at_level("WARNING"):
        assert len(load_dataset(path)) == 1
        assert len(load_dataset(path, "train")) == 1
    assert caplog.messages == [f"{path} has no val: using the images of train"]


@pytest.mark.parametrize("name", ["data.yaml", "obj.data", "valid/_annotations.coco.json"])
def test_a_folder_with_a_description_is_that_data_set(tmp_path: pathlib.Path, name: str) -> None:
    write_image(tmp_path / "valid" / "1.png", (200, 100))
    write_text(tmp_path / "valid" / "1.txt", "0 .2 .35 .2 .5")
    write_text(tmp_path / "valid.txt", "valid/1.png")
    write_text(tmp_path / "obj.names", "dog")
    content = coco_content(
        [{"image_id": 1, "category_id": 1, "bbox": [20, 10, 40, 50]}], categories=[{"id": 1, "name": "dog"}]
    )
    texts = {"data.yaml": "val: valid\nnames: [dog]", "obj.data": "valid=data/valid.txt\nnames=data/obj.names"}
    write_text(tmp_path / name, texts.get(name, json.dumps(content)))
    dataset = load_dataset(tmp_path)
    assert (dataset.names, dataset.source) == (("dog",), str(tmp_path / name))
    assert rounded_targets(dataset) == [[[0.2, 0.35, 0.2, 0.5, 0.0]]]


def test_the_folders_of_a_vocdevkit_are_one_data_set(tmp_path: pathlib.Path) -> None:
    for year, name in (("VOC2007", "dog"), ("VOC2012", "cat")):
        folder = tmp_path / "VOCdevkit" / year
        write_image(folder / "JPEGImages" / f"{year}.jpg")
        write_text(folder / "Annotations" / f"{year}.xml", _annotation(_OBJECT.format(name=name, hard=0)))
    for path in (tmp_path, tmp_path / "VOCdevkit"):
        dataset = load_dataset(path)
        assert dataset.names == VOC_CLASSES
        assert [VOC_CLASSES[int(sample.targets[0, 4])] for sample in dataset] == ["dog", "cat"]
    write_text(folder / "Annotations" / "VOC2012.xml", _annotation(_OBJECT.format(name="zebra", hard=0)))
    dataset = load_dataset(tmp_path)
    assert dataset.names == ("dog", "zebra")
    assert [dataset.names[int(sample.targets[0, 4])] for sample in dataset] == ["dog", "zebra"]


def test_a_pipe_is_a_list(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "1.png")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text(image))
    writer.start()
    dataset = load_dataset(tmp_path / "pipe")
    writer.join()
    assert [sample.image for sample in dataset] == [image]


def test_the_error_of_a_data_yaml_without_images_lists_the_folders_tried(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="no images; tried"):
        load_dataset(write_text(tmp_path / "data.yaml", "val: images\nnames: [a]"))


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
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "expected an annotation without a DTD"),
        ("<annotation>", "no element found"),
        ("", "no annotation"),
        ("<annotation><size><width>0</width><height>0</height></size></annotation>", "expected a size with width"),
        ("<annotation/>", "expected a size with width"),
        (_annotation("<object><name>a</name></object>"), "object 1: expected a bndbox"),
        (
            _annotation(_OBJECT.format(name="dog", hard=0).replace("61", "nan", 1)),
            "object 1: a coordinate is NaN or Inf",
        ),
    ],
)
def test_invalid_voc_annotations_are_problems_of_their_image(tmp_path: pathlib.Path, text: str, message: str) -> None:
    (tmp_path / "JPEGImages").mkdir()
    write_text(tmp_path / "Annotations" / "1.xml", text)
    write_text(tmp_path / "Annotations" / "2.xml", _annotation(_OBJECT.format(name="dog", hard=0)))
    dataset = load_dataset(tmp_path)
    assert [len(sample.targets) for sample in dataset] == [0, 1]
    (problem,) = dataset.problems
    assert problem.location.startswith(str(tmp_path / "Annotations" / "1.xml"))
    assert message in str(problem)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((61, 11, 21, 61), "size -0.2 0.5, expected 0..1 of the image"),
        ((21, 11, 21, 61), "size 0 0.5, expected 0..1 of the image"),
        ((421, 11, 461, 61), "centre 2.2 0.35, expected 0..1 of the image"),
    ],
)
def test_boxes_of_voc_and_coco_are_checked_as_those_of_label_files(
    tmp_path: pathlib.Path, box: tuple[int, ...], message: str
) -> None:
    (tmp_path / "JPEGImages").mkdir()
    edges = "".join(f"<{e}>{v}</{e}>" for e, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    text = _annotation(f"<object><name>dog</name><bndbox>{edges}</bndbox></object>")
    xml = write_text(tmp_path / "Annotations" / "1.xml", text)
    voc = load_dataset(tmp_path)
    assert [str(problem) for problem in voc.problems] == [f"{xml}: object 1: {message}"]
    left, top, right, bottom = box  # voc_label.py subtracts 1
    bbox = [left - 1, top - 1, right - left, bottom - top]
    content = coco_content([{"id": 7, "image_id": 1, "category_id": 1, "bbox": bbox}])
    path = write_text(tmp_path / "a.json", json.dumps(content))
    coco = load_dataset(path)
    assert [str(problem) for problem in coco.problems] == [f"{path}: annotation 7: {message}"]
    np.testing.assert_allclose(coco.samples[0].targets[:, :4], voc.samples[0].targets[:, :4])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "windows-1251", "gb2312", "latin-1"])
def test_an_xml_is_read_in_its_declared_encoding(tmp_path: pathlib.Path, encoding: str) -> None:
    name = {"windows-1251": "шесть", "gb2312": "狗"}.get(encoding, "grün")
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "Annotations").mkdir()
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n' + _annotation(_OBJECT.format(name=name, hard=0))
    (tmp_path / "Annotations" / "1.xml").write_bytes(text.encode(encoding))
    assert load_dataset(tmp_path).names == (name,)


@pytest.mark.parametrize("encoding", ["undefined", "punycode", "base64", "nothing"])
def test_an_xml_in_an_encoding_that_cannot_be_decoded_is_read_as_unicode(tmp_path: pathlib.Path, encoding: str) -> None:
    (tmp_path / "JPEGImages").mkdir()
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n' + _annotation(_OBJECT.format(name="dog", hard=0))
    write_text(tmp_path / "Annotations" / "1.xml", text)
    assert load_dataset(tmp_path).names[int(load_dataset(tmp_path)[0].targets[0, 4])] == "dog"


def test_an_annotation_that_is_a_device_is_not_read(tmp_path: pathlib.Path) -> None:
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "1.xml").symlink_to("/dev/null")  # might be /dev/zero
    (problem,) = load_dataset(tmp_path).problems
    assert problem.message.startswith("expected a regular file, found a folder, device or pipe")


def test_folders_and_lists_of_images_are_loaded(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "p" / "1.png")
    write_text(tmp_path / "p" / "1.txt", "1 0.5 0.5 0.25 0.5")
    for source in (tmp_path / "p", write_text(tmp_path / "a.list", image), write_text(tmp_path / "a.txt", image)):
        assert rounded_targets(load_dataset(source)) == [[[0.5, 0.5, 0.25, 0.5, 1.0]]]
    with pytest.raises(DataError, match=r"expected a .data, .txt, .list, .yaml, .json or .xml file, or a folder"):
        load_dataset(tmp_path / "a.csv")


def test_images_of_voc_may_have_a_suffix_in_capitals(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "JPEGImages" / "1.JPG")
    write_text(tmp_path / "Annotations" / "1.xml", _annotation(_OBJECT.format(name="dog", hard=0)))
    assert [sample.image for sample in load_dataset(tmp_path)] == [image]


def test_a_folder_that_is_not_there_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="nothing: no such file or folder"):
        load_dataset(tmp_path / "nothing")


def test_names_that_are_too_long_for_the_file_system_are_those_of_missing_images(tmp_path: pathlib.Path) -> None:
    name = "x" * 5000
    images = [{"id": 1, "file_name": name, "width": 9, "height": 9}]
    content = {"images": images, "categories": [{"id": 3, "name": "dog"}], "annotations": []}
    assert load_dataset(write_text(tmp_path / "a.json", json.dumps(content)))[0].image.endswith(name)
    for folder in ("Annotations", "JPEGImages"):
        (tmp_path / "voc" / folder).mkdir(parents=True)
    write_text(tmp_path / "voc" / "ImageSets" / "Main" / "val.txt", name)
    assert load_dataset(tmp_path / "voc")[0].image.endswith("val.txt:1")
    for path in (write_text(tmp_path / "data.yaml", f"val: {name}\nnames: [dog]\n"), tmp_path / name):
        with pytest.raises(DataError, match=r"no images|no such file"):
            load_dataset(path)
