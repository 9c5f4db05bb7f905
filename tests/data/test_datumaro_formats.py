"""Data sets by way of Datumaro, which writes the ones that are read here."""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import pytest

from darknet_py import cli
from darknet_py.data.dataset import Dataset
from darknet_py.data.formats import load_subsets
from darknet_py.data.labels import TargetArray
from darknet_py.demo import digits


@pytest.fixture
def data(tmp_path: pathlib.Path) -> pathlib.Path:
    return digits.write_dataset(tmp_path / "set", train=3, valid=2)


def rows_by_name(dataset: Dataset) -> dict[str, TargetArray]:
    """Targets of each image, from left to right: WIDER FACE has them in the order of their classes.

    The writer of COCO's format has numbered images of one name in two lists.
    """
    return {pathlib.Path(s.image).stem[:5]: s.targets[np.argsort(s.targets[:, 0])] for s in dataset.samples}


def test_wider_face_has_the_boxes_and_classes(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    datumaro = pytest.importorskip("datumaro", reason="the extra datumaro is not installed")
    coco, wider = (str(tmp_path / name) for name in ("coco", "wider"))
    assert cli.main(["data", "convert", str(data), coco, "--to", "coco", "--quiet"]) == 0
    datumaro.Dataset.import_from(coco, "coco_instances").export(wider, "wider_face", save_media=True)
    out = str(tmp_path / "out")
    assert cli.main(["data", "convert", wider, out, "--from", "wider_face", "--to", "voc", "--quiet"]) == 0
    expected, found = load_subsets(data), load_subsets(out)
    assert found.keys() == expected.keys()
    for subset, dataset in expected.items():
        wanted, boxes = rows_by_name(dataset), rows_by_name(found[subset])
        assert boxes.keys() == wanted.keys()
        for name, rows in wanted.items():
            classes = [found[subset].names.index(dataset.names[int(row[4])]) for row in rows]
            np.testing.assert_allclose(boxes[name][:, :4], rows[:, :4], atol=0.006)  # VOC's and WIDER's whole pixels
            assert boxes[name][:, 4].tolist() == classes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none", "--from", "kitti"], "none: no such file or folder"),
        (["set", "--from", "open_images"], "set: Datumaro cannot read it as open_images: Failed to find dataset"),
        (["set", "--from", "image_dir"], "set: Datumaro finds no "),
        (["set", "--from", "nosuch"], "--from: expected a format of Datumaro (ade20k2017,"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    words: list[str],
    message: str,
    data: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("datumaro", reason="the extra datumaro is not installed")
    monkeypatch.chdir(data.parent.parent)
    assert cli.main(["data", "convert", words[0], "out", *words[1:]]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"darknet-py: {message}")
    assert error.count("\n") == 1
    assert not pathlib.Path("out").exists()


def test_without_datumaro_there_is_one_sentence(
    data: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "datumaro", None)
    line = ["data", "convert", str(data), str(tmp_path / "out"), "--from", "kitti_detection"]
    assert cli.main(line) == 1
    expected = "darknet-py: --from needs the package datumaro: pip install 'darknet-torch[datumaro]'\n"
    assert capsys.readouterr().err == expected
    assert cli.main([*line, "--link"]) == 1
    assert capsys.readouterr().err.startswith("darknet-py: --link: expected no --from")
    assert not (tmp_path / "out").exists()
