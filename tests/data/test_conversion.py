"""Every format that is written is read back, with the same lists, classes and boxes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import yaml

from darknet_py.data.dataset import Dataset, Sample
from darknet_py.data.formats import FORMATS, load_dataset, load_subsets
from darknet_py.data.writing import write_dataset
from darknet_py.errors import DataError
from darknet_py.files import OutputError
from darknet_py.images.inspection import read_size
from tests.helpers.data_files import rounded_targets, write_image, write_text

NAMES = ("traffic light", "zebra", "ant")  # not sorted, and one without objects below
each_format = pytest.mark.parametrize("name", FORMATS)


def _sample(image: str, *rows: tuple[float, ...], ignored: tuple[tuple[float, ...], ...] = ()) -> Sample:
    targets, others = (np.array(part, np.float32).reshape(-1, 5) for part in (rows, ignored))
    return Sample(image, targets, others)


@pytest.fixture
def subsets(tmp_path: pathlib.Path) -> dict[str, Dataset]:
    """Two lists; two images have one name, one is listed twice, one has no objects."""
    first = _sample(
        write_image(tmp_path / "a" / "1.jpg", (200, 100)), (0.2, 0.35, 0.2, 0.5, 1), (0.6015, 0.5, 0.111, 0.3333, 0)
    )
    second = _sample(write_image(tmp_path / "b" / "1.png", (64, 48)))
    third = _sample(write_image(tmp_path / "c" / "night & day.png", (31, 17)), (0.5, 0.5, 1, 1, 0))
    return {"train": Dataset([first, second, first], NAMES), "valid": Dataset([third], NAMES)}


@each_format
def test_what_is_written_is_read_back(subsets: dict[str, Dataset], tmp_path: pathlib.Path, name: str) -> None:
    assert write_dataset(subsets, tmp_path / "out", name) == []
    read = load_subsets(tmp_path / "out")
    assert list(read) == ["train", "valid"]
    for subset, dataset in read.items():
        assert (dataset.names, list(dataset.problems)) == (NAMES, [])
        before = {read_size(sample.image): sample for sample in subsets[subset]}
        assert {read_size(sample.image) for sample in dataset} == before.keys()
        for sample in dataset:
            width, height = size = read_size(sample.image)
            difference = np.abs(sample.targets - before[size].targets) * (width, height, width, height, 1)
            assert (difference < 0.001).all(), "pixels"
    assert pathlib.Path(read["train"][0].image).read_bytes() == pathlib.Path(subsets["train"][0].image).read_bytes()
    assert len({sample.image for dataset in read.values() for sample in dataset}) == 3


@each_format
def test_formats_convert_into_each_other(subsets: dict[str, Dataset], tmp_path: pathlib.Path, name: str) -> None:
    write_dataset(subsets, tmp_path / "first", name)
    write_dataset(load_subsets(tmp_path / "first"), tmp_path / "second", "darknet")
    direct = write_dataset(subsets, tmp_path / "direct", "darknet")
    assert direct == []
    labels = {path.relative_to(tmp_path / "direct"): path.read_text() for path in tmp_path.glob("direct/*/*.txt")}
    for path, text in labels.items():
        other = (tmp_path / "second" / path).read_text().split()
        assert list(map(float, other)) == pytest.approx(list(map(float, text.split())), abs=2e-5)
    assert (tmp_path / "second" / "obj.names").read_text() == "traffic light\nzebra\nant\n"


@each_format
def test_links_lead_to_the_images(subsets: dict[str, Dataset], tmp_path: pathlib.Path, name: str) -> None:
    write_dataset(subsets, tmp_path / "out", name, link=True)
    (sample,) = load_dataset(tmp_path / "out", "valid")
    assert pathlib.Path(sample.image).resolve() == pathlib.Path(subsets["valid"][0].image).resolve()
    assert len(sample.targets) == 1


@each_format
def test_ignored_objects_are_kept_or_named(tmp_path: pathlib.Path, name: str) -> None:
    image = write_image(tmp_path / "1.png", (40, 20))
    dataset = Dataset([_sample(image, (0.5, 0.5, 0.5, 0.5, 0), ignored=((0.25, 0.25, 0.5, 0.5, 1),))], ("a", "b"))
    problems = write_dataset({"train": dataset}, tmp_path / "out", name)
    (sample,) = load_dataset(tmp_path / "out", "train")
    assert len(sample.targets) == 1
    assert len(sample.ignored) == (1 if name in ("coco", "voc") else 0)
    assert [str(problem) for problem in problems] == (
        [] if len(sample.ignored) else [f"{image}: objects that evaluation ignores are left out"]
    )


def test_images_that_cannot_be_read_are_left_out_and_named(tmp_path: pathlib.Path) -> None:
    broken = write_text(tmp_path / "broken.jpg", "text")
    samples = [_sample(str(broken)), _sample("missing.jpg"), _sample(write_image(tmp_path / "1.png"))]
    problems = write_dataset({"train": Dataset(samples, ("a",))}, tmp_path / "out", "coco")
    assert [problem.location for problem in problems] == [str(broken), "missing.jpg"]
    assert all(str(problem).endswith("; left out") for problem in problems)
    assert len(load_dataset(tmp_path / "out", "train")) == 1
    with pytest.raises(DataError, match=r"set: none of the images can be read; the first: .*broken\.jpg: "):
        write_dataset({"train": Dataset(samples[:2], ("a",), source="set")}, tmp_path / "none", "coco")
    assert not (tmp_path / "none").exists()


def test_nothing_is_replaced_and_nothing_is_left_by_a_failure(
    subsets: dict[str, Dataset], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="a: exists: expected the name of a new folder"):
        write_dataset(subsets, tmp_path / "a", "darknet")
    with pytest.raises(DataError, match=r"1\.jpg: exists"):
        write_dataset(subsets, tmp_path / "a" / "1.jpg", "darknet")
    (tmp_path / "empty").mkdir()
    write_dataset(subsets, tmp_path / "empty", "darknet")

    def fail(path: object, content: object) -> None:
        raise OutputError("full")

    monkeypatch.setattr("darknet_py.data.labelme.write_json", fail)
    with pytest.raises(OutputError):
        write_dataset(subsets, tmp_path / "new", "labelme")
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c", "empty"]


def test_classes_without_names_get_their_numbers(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "1.png")
    write_dataset({"train": Dataset([_sample(image, (0.5, 0.5, 0.5, 0.5, 2))])}, tmp_path / "out", "voc")
    dataset = load_dataset(tmp_path / "out", "train")
    assert dataset.names == ("0", "1", "2")
    assert dataset[0].targets[0, 4] == 2


def test_pycocotools_reads_coco(subsets: dict[str, Dataset], tmp_path: pathlib.Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    write_dataset(subsets, tmp_path / "out", "coco")
    with contextlib.redirect_stdout(io.StringIO()):
        read = coco.COCO(tmp_path / "out" / "annotations" / "instances_train.json")
    (zebra,) = read.getCatIds(["zebra"])
    (annotation,) = read.loadAnns(read.getAnnIds(catIds=[zebra]))
    assert annotation["bbox"] == [20, 10, 40, 50]  # 0.2 +- 0.1 of 200, 0.35 +- 0.25 of 100
    assert read.loadImgs(annotation["image_id"])[0]["file_name"] == "1.jpg"
    assert read.getAnnIds(areaRng=[1999, 2001]) == [annotation["id"]]


def test_ids_of_coco_are_kept(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "1.png")
    sample = Sample(image, np.array([[0.5, 0.5, 0.5, 0.5, 1]], np.float32), np.zeros((0, 5), np.float32), 42)
    write_dataset({"train": Dataset([sample], ("a", "b"), categories=(7, 90))}, tmp_path / "out", "coco")
    content = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    assert content["images"][0]["id"] == content["annotations"][0]["image_id"] == 42
    assert content["annotations"][0]["category_id"] == 90


def test_files_are_those_that_the_tools_document(subsets: dict[str, Dataset], tmp_path: pathlib.Path) -> None:
    for name in FORMATS:
        write_dataset(subsets, tmp_path / name, name)
    content = yaml.safe_load((tmp_path / "ultralytics" / "data.yaml").read_text())
    assert content == {"train": "images/train", "val": "images/val", "names": dict(enumerate(NAMES))}
    assert (tmp_path / "ultralytics" / "labels" / "train" / "1_2.txt").read_text() == ""
    box = ElementTree.parse(tmp_path / "voc" / "Annotations" / "1.xml").find("object/bndbox")
    assert box is not None
    assert [edge.text for edge in box] == ["21", "11", "61", "61"]  # from 1, as voc_label.py expects
    root = ElementTree.parse(tmp_path / "cvat" / "annotations.xml").getroot()
    element = root.find("image[@name='1.jpg']/box[@label='zebra']")
    assert element is not None
    assert [element.get(key) for key in ("xtl", "ytl", "xbr", "ybr")] == ["20.000", "10.000", "60.000", "60.000"]
    labelme = json.loads((tmp_path / "labelme" / "train" / "1.json").read_text())
    assert labelme["shapes"][0]["points"] == [[20, 10], [60, 60]]
    assert (labelme["imagePath"], labelme["imageWidth"], labelme["imageHeight"]) == ("1.jpg", 200, 100)
    task = json.loads((tmp_path / "label-studio" / "train.json").read_text())[0]
    assert task["data"] == {"image": "/data/local-files/?d=images/1.jpg"}
    value = task["annotations"][0]["result"][0]["value"]
    assert value == {"x": 10, "y": 10, "width": 20, "height": 50, "rotation": 0, "rectanglelabels": ["zebra"]}


@each_format
def test_names_may_have_any_letters(tmp_path: pathlib.Path, name: str) -> None:
    names = ("<a> & \"b\" 'c'", "шесть 狗", "x: y # z", "no")
    image = write_image(tmp_path / "ß %41 & #.png")
    rows = [(0.5, 0.5, 0.5, 0.5, float(cls)) for cls in range(4)]
    write_dataset({"train": Dataset([_sample(image, *rows)], names)}, tmp_path / "out", name)
    dataset = load_dataset(tmp_path / "out", "train")
    assert dataset.names == names
    assert os.path.isfile(dataset[0].image)
    assert rounded_targets(dataset)[0][0] == [0.5, 0.5, 0.5, 0.5, 0]
