"""``detector valid`` and ``classifier valid`` against the output of C for the same files."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from darknet_py import cli, loading
from tests.helpers import reference_values

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "valid"
BODY = """
[net]
width=64
height=64
channels=3
[convolutional]
filters=4
size=3
stride=32
pad=1
activation=leaky
[convolutional]
filters={}
size=1
activation=linear
"""
YOLO = BODY.format(16) + "[yolo]\nmask=0,1\nanchors=20,20,40,30\nclasses=3\nnum=2\n"
REGION = BODY.format(430) + "[region]\nanchors=0.3,0.2,0.1,0.4\nclasses=210\nnum=2\nsoftmax=1\ntree=t.tree\n"
TREE = BODY.format(6) + "[avgpool]\n[softmax]\ntree=six.tree\n"
SIX = ("animal -1", "thing -1", "dog 0", "cat 0", "car 1", "bus 1")


def write_network(name: str, text: str, seed: int) -> None:
    """Write a cfg and pseudorandom weights to the working directory."""
    pathlib.Path(f"{name}.cfg").write_text(text)
    net = loading.load(f"{name}.cfg")
    for number, (key, tensor) in enumerate(net.state_dict().items()):
        values = (reference_values.uniform(seed + number, 0, tensor.numel()) - 0.5) * (
            12 if key.startswith("layers.1") else 2
        )
        tensor.copy_(torch.from_numpy(values).view(tensor.shape))
    loading.save(net, f"{name}.weights")


def write_files() -> None:
    """Write networks, images, lists and .data files to the working directory, as C read them."""
    lists = {
        "t.tree": [f"n{n:03} {-1 if n < 10 else (n - 10) // 20}" for n in range(210)],
        "t.map": [str((11 * n + 3) % 210) for n in range(200)],
        "t.names": [f"c{n:03}" for n in range(210)],
        "y.names": ["car", "pedestrian", "cyclist"],
        "six.tree": SIX,
        "six.labels": [line.split()[0] for line in SIX],
        "six.leaves": ["thing", "animal", "cat"],
        "list.txt": ["10.png", "11.png"],
        "named.txt": [f"{SIX[n % 6].split()[0]}_{n}.png" for n in range(12)],
        "imagenet.data": ["valid=list.txt", "names=t.names", "map=t.map", "eval=imagenet", "results=imagenet"],
        "tree.data": ["valid=named.txt", "labels=six.labels", "classes=6", "top=2"],
        "leaves.data": ["valid=named.txt", "labels=six.labels", "classes=6", "top=2", "leaves=six.leaves"],
    }
    for kind in ("coco", "voc", "kitti"):
        lists[f"{kind}.data"] = ["valid=list.txt", "names=y.names", f"eval={kind}", f"results={kind}"]
    for name, lines in lists.items():
        pathlib.Path(name).write_text("".join(f"{line}\n" for line in lines))
    for kind in ("imagenet", "coco", "voc", "kitti"):
        pathlib.Path(kind).mkdir()
    for number, name in enumerate([*lists["list.txt"], *lists["named.txt"]]):
        rows, columns = ((6, 10), (8, 5))[number % 2]
        noise = reference_values.uniform(200 + number, 0, rows * columns * 3).reshape(rows, columns, 3)
        Image.fromarray(np.kron((noise * 255.99).astype(np.uint8), np.ones((10, 10, 1), np.uint8))).save(name)
    write_network("t", REGION, 40)
    write_network("y", YOLO, 61)
    write_network("six", TREE, 81)


@pytest.fixture(autouse=True)
def _in_folder_of_files(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files()


def numbers(line: str) -> list[float]:
    return [float(word) for word in re.findall(r"(?<![A-Za-z])-?\d+(?:\.\d+)?(?:e-\d+)?", line)]


def assert_close_text(actual: str, golden: str) -> None:
    """Compare text word for word, and numbers up to the rounding of float32 pixels."""
    actual_lines, expected_lines = ([line for line in text.splitlines() if line.strip()] for text in (actual, golden))
    assert len(actual_lines) == len(expected_lines) > 0
    for a, b in zip(actual_lines, expected_lines, strict=True):
        assert re.sub(r"[\d.\se-]", "", a) == re.sub(r"[\d.\se-]", "", b)
        assert numbers(a) == pytest.approx(numbers(b), abs=1e-4)


@pytest.mark.parametrize(("kind", "name"), [("imagenet", "t"), ("coco", "y"), ("voc", "y"), ("kitti", "y")])
def test_result_files_equal_cs(kind: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``imagenet`` has ``map=``: two hundred classes of a tree, numbered by the lines of the map."""
    assert cli.main(["detector", "valid", f"{kind}.data", f"{name}.cfg", f"{name}.weights", "-i", "-1"]) == 0
    written = capsys.readouterr().out.split()
    assert len(written) == {"voc": 3, "kitti": 2}.get(kind, 1)
    for path in written:
        actual, golden = (pathlib.Path(p).read_text() for p in (path, GOLDEN / pathlib.Path(path).name))
        if kind == "coco":
            assert [one.keys() for one in json.loads(actual)] == [one.keys() for one in json.loads(golden)]
        assert_close_text(actual, golden)


@pytest.mark.parametrize("name", ["tree", "leaves"])
def test_accuracy_equals_cs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``leaves=`` names two classes that have children, and omits two that have none."""
    line = [f"{name}.data", "six.cfg", "six.weights"]
    assert cli.main(["classifier", "valid", *line, "-i", "-1"]) == 0
    actual, golden = capsys.readouterr().out, (GOLDEN / f"{name}.txt").read_text()
    assert actual.splitlines() == golden.splitlines()
    assert cli.main(["classify", "six.cfg", "six.weights", "--valid", f"{name}.data", "--device", "cpu"]) == 0
    first, among = numbers(golden.splitlines()[-1].partition(":")[2])[1::2]
    out = capsys.readouterr().out
    assert out == f"top 1: {100 * first:.2f} %, top 2: {100 * among:.2f} % of 12 images\n"


def test_a_map_that_does_not_fit_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["detector", "valid", "imagenet.data", "y.cfg", "y.weights", "-i", "-1"]
    assert cli.main(line) == 1
    expected = "darknet-py: imagenet.data: map: expected a network whose head has a class tree\n"
    assert capsys.readouterr().err == expected
    shutil.copy("y.names", "t.names")
    assert cli.main(["detector", "valid", "imagenet.data", "t.cfg", "t.weights", "-i", "-1"]) == 1
    error = capsys.readouterr().err
    assert "t.names: 3 class names: expected 200, as many as t.map has lines, or 210, as many as the network" in error
    os.remove("t.map")
    assert cli.main(["detector", "valid", "imagenet.data", "t.cfg", "t.weights", "-i", "-1"]) == 1
    assert capsys.readouterr().err == (
        "darknet-py: imagenet.data: map: no such file or folder: 't.map'; tried t.map, ../t.map\n"
    )


def test_a_map_may_come_with_its_own_names(capsys: pytest.CaptureFixture[str]) -> None:
    pathlib.Path("t.names").write_text("".join(f"d{n}\n" for n in range(200)))
    data = pathlib.Path("imagenet.data")
    data.write_text(data.read_text().replace("eval=imagenet", "eval=voc"))
    assert cli.main(["detector", "valid", "imagenet.data", "t.cfg", "t.weights", "-i", "-1"]) == 0
    written = capsys.readouterr().out.split()
    assert (written[0], len(written)) == ("imagenet/comp4_det_test_d0.txt", 200)


def test_leaves_that_are_not_in_the_tree_are_reported(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    pathlib.Path("six.leaves").write_text("cat\nunicorn\n")
    assert cli.main(["classifier", "valid", "leaves.data", "six.cfg", "six.weights", "-i", "-1"]) == 0
    assert "six.leaves:2: expected a class of the tree, found a word of 7 characters; left out" in caplog.messages
    pathlib.Path("six.leaves").write_text("unicorn\n")
    capsys.readouterr()
    assert cli.main(["classifier", "valid", "leaves.data", "six.cfg", "six.weights", "-i", "-1"]) == 1
    expected = "darknet-py: six.leaves: none of its 1 lines is a class of the tree (animal, ...)\n"
    assert capsys.readouterr().err.endswith(expected)
    write_network("flat", TREE.replace("tree=six.tree", "groups=1"), 80)
    assert cli.main(["classifier", "valid", "leaves.data", "flat.cfg", "flat.weights", "-i", "-1"]) == 1
    assert "expected a network whose softmax layer has tree=" in capsys.readouterr().err
