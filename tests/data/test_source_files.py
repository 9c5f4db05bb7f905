"""A data set knows the files that it was read from, which outputs must not replace."""

from __future__ import annotations

import json
import pathlib

import pytest

from darknet_py.data.formats import load_dataset
from darknet_py.files import OutputError, check_outputs
from tests.helpers.data_files import write_image, write_text

_VOC = """<annotation><size><width>40</width><height>20</height></size>
<object><name>dog</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"""
_SHAPE = {"label": "dog", "points": [[1, 1], [5, 5]], "shape_type": "rectangle"}


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "a.png")
    write_text(tmp_path / "a.txt", "0 .5 .5 .2 .2\n")
    write_text(tmp_path / "list.txt", "a.png\n")
    write_text(tmp_path / "names", "dog\n")
    write_text(tmp_path / "d.data", "valid=list.txt\ntrain=list.txt\nnames=names\ndifficult=list.txt\n")
    write_text(tmp_path / "d.yaml", "val: list.txt\nnames: [dog]\n")
    write_image(tmp_path / "voc" / "JPEGImages" / "1.jpg")
    write_text(tmp_path / "voc" / "Annotations" / "1.xml", _VOC)
    write_text(tmp_path / "voc" / "ImageSets" / "Main" / "val.txt", "1\n")
    write_image(tmp_path / "labelme" / "1.png")
    labelme = {"shapes": [_SHAPE], "imagePath": "1.png", "imageHeight": 20, "imageWidth": 40, "version": "5"}
    write_text(tmp_path / "labelme" / "1.json", json.dumps(labelme))
    write_text(tmp_path / "labelme" / "labels.txt", "dog\n")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "files"),
    [
        ("d.data", ["d.data", "list.txt", "names", "a.png", "a.txt"]),
        ("d.yaml", ["d.yaml", "list.txt", "a.png", "a.txt"]),
        ("list.txt", ["list.txt", "a.png", "a.txt"]),
        ("voc", ["voc/Annotations/1.xml", "voc/ImageSets/Main/val.txt", "voc/JPEGImages/1.jpg"]),
        ("labelme", ["labelme/1.json", "labelme/labels.txt", "labelme/1.png"]),
    ],
)
def test_no_file_of_a_data_set_is_an_output(folder: pathlib.Path, source: str, files: list[str]) -> None:
    dataset = load_dataset(source)
    assert len(dataset[0].targets) == 1
    for path in files:
        with pytest.raises(OutputError, match=f"^{path}: writing it would replace the input"):
            check_outputs([path], dataset.files())
    check_outputs(["new.json"], dataset.files())
