"""Functions of Darknet's command line that few use compute and print what C does."""

from __future__ import annotations

import io
import pathlib
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import darknet_py as dk
from darknet_py import cli
from darknet_py._version import __version__
from tests.commands.test_darknet_functions import classifier, of_darknet
from tests.commands.test_darknet_lines import run
from tests.helpers import random_networks, reference_values, tiny_videos

__all__ = ["classifier"]  # a fixture
needs_darknet = pytest.mark.skipif(shutil.which("darknet") is None, reason="compares with the Debian package darknet")


def write_network(name: str, text: str) -> None:
    """Write NAME.cfg and NAME.weights, with the revision that pjreddie's fork writes."""
    pathlib.Path(f"{name}.cfg").write_text(text)
    network = dk.load(f"{name}.cfg")
    for number, tensor in enumerate(network.state_dict().values()):
        values = reference_values.uniform(number, 0, tensor.numel()) - 0.5
        tensor.copy_(torch.from_numpy(values).view(tensor.shape))
    network.version, network.seen = (0, 2, 0), 640
    dk.save_weights(network, f"{name}.weights")


@needs_darknet
@pytest.mark.parametrize("name", ["csv", "fout"])
def test_lines_of_classifiers_are_those_of_c(
    classifier: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in ("dark1.png", "light1.png"):
        noise = np.random.default_rng(3).integers(0, 256, (13, 9, 3), np.uint8)
        Image.fromarray(noise).save(path)
    line = ["classifier", name, *classifier, *(["list"] if name == "fout" else [])]
    status, out, _ = run(line, capsys)
    theirs = of_darknet(" ".join(line))
    assert status == 0
    rows, expected = ([row.split("\t") for row in text.splitlines()] for text in (out, theirs))
    assert [row[0] for row in rows] == [row[0] for row in expected] == ["dark1.png", "light1.png"]
    numbers, others = ([[float(word) for word in row[1:]] for row in table] for table in (rows, expected))
    np.testing.assert_allclose(numbers, others, rtol=2e-5)
    assert len(numbers[0]) == 2


def test_classifier_demo_prints_the_classes_of_each_frame(
    classifier: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av", reason="videos are read with PyAV: pip install 'darknet-torch[video]'")
    tiny_videos.write_video(pathlib.Path("clip.mp4"), 3)
    status, out, err = run(["classifier", "demo", *classifier, "clip.mp4"], capsys)
    assert status == 0, err
    frame = r"\rFPS: [\d.]+\n(?:light|dark|[\d.]+%: (?:light|dark)\n){2}\n"
    assert re.fullmatch(rf"Classifier Demo\n(?:{frame}){{3}}", out), out


@pytest.mark.parametrize("width", [64, 96])
@pytest.mark.parametrize("head", ["yolo", "region"])
def test_valid2_of_a_mirror_image_gives_the_mirrored_boxes(
    head: str,
    width: int,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Which ``valid`` does not, as the weights are random; the maps have an even or an odd number of columns."""
    monkeypatch.chdir(tmp_path)
    section = {
        "yolo": "[yolo]\nmask=0,1\nanchors=10,10,30,20\nclasses=3\nnum=2\n",
        "region": "[region]\nanchors=0.3,0.3,1,0.7\nclasses=3\nnum=2\nsoftmax=1\n",
    }[head]
    convolution = "[convolutional]\nfilters={}\nsize={}\nstride={}\npad={}\nactivation=linear\n"
    layers = convolution.format(4, 5, 32, 1) + convolution.format(16, 1, 1, 0)
    write_network("n", f"[net]\nwidth={width}\nheight=64\nchannels=3\n{layers}{section}")
    pixels = np.kron(np.random.default_rng(1).integers(0, 256, (6, 10, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    for name, values in (("a.png", pixels), ("b.png", pixels[:, ::-1])):
        Image.fromarray(values).save(name)
    pathlib.Path("list").write_text("a.png\nb.png\n")
    pathlib.Path("names").write_text("x\ny\nz\n")
    pathlib.Path("n.data").write_text("valid=list\nnames=names\nresults=.\n")
    boxes = {}
    for function in ("valid2", "valid"):
        status, out, err = run(["detector", function, "n.data", "n.cfg", "n.weights", "-i", "-1"], capsys)
        assert status == 0, err
        rows = [line.split() for path in out.split() for line in pathlib.Path(path).read_text().splitlines()]
        by_image = [np.array([row[1:] for row in rows if row[0] == name], float) for name in ("a", "b")]
        by_image[1][:, [1, 3]] = 82 - by_image[1][:, [3, 1]]  # pixels are counted from 1
        for table in by_image:
            table[:, [1, 3]] = table[:, [1, 3]].clip(2, 80)  # those at the edges of the image
        boxes[function] = [table[np.lexsort(table.round(3).T)] for table in by_image]
    assert len(boxes["valid2"][0]) > 5
    np.testing.assert_allclose(boxes["valid2"][0], boxes["valid2"][1], atol=2e-2)
    plain, mirrored = boxes["valid"]
    assert plain.shape != mirrored.shape or not np.allclose(plain, mirrored, atol=0.1)


YOLO9000 = (
    "[net]\nwidth=1\nheight=1\nchannels=3\n[conv]\nfilters=2\nactivation=leaky\n"
    "[conv]\nfilters={}\nactivation=linear\n{}"
)
CLASSES = 11921  # of YOLO9000 in pjreddie's fork, the only number that C accepts


@needs_darknet
def test_oneoff_makes_the_file_of_c(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for the random weights of box and objectness."""
    monkeypatch.chdir(tmp_path)
    write_network("c", YOLO9000.format(CLASSES, "[softmax]\n"))
    head = f"[region]\nclasses={CLASSES}\nnum=3\nanchors=1,1, 2,2, 3,3\n"
    pathlib.Path("d.cfg").write_text(YOLO9000.format(3 * (CLASSES + 5), head))
    theirs = of_darknet("oneoff d.cfg c.weights theirs")
    assert run(["oneoff", "d.cfg", "c.weights", "ours"], capsys)[:2] == (0, theirs)
    ours, expected = (pathlib.Path(name).read_bytes() for name in ("ours", "theirs"))
    assert ours[:20] == expected[:20]
    random = np.zeros((3, CLASSES + 5), bool)
    random[:, :5] = True
    known = ~np.concatenate((np.zeros(2 + 2 * 3, bool), random.ravel(), random.ravel().repeat(2)))
    arrays = [np.frombuffer(data, "<f4", offset=20) for data in (ours, expected)]
    assert np.array_equal(arrays[0][known], arrays[1][known])
    assert np.array_equal(arrays[0][8 : 8 + 3 * (CLASSES + 5)], arrays[1][8 : 8 + 3 * (CLASSES + 5)])  # biases of 0
    assert 0 < np.abs(arrays[0][~known]).max() < 0.5


TOWERS = (
    "[net]\nwidth=6\nheight=6\nchannels=3\n" + "[conv]\nfilters=3\nsize=3\npad=1\nbatch_normalize=1\n[maxpool]\n" * 2
)


@needs_darknet
def test_oneoff2_loads_a_file_twice_as_c_does(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    one = TOWERS.rpartition("[conv]")[0]
    write_network("one", one)
    pathlib.Path("two.cfg").write_text(TOWERS)
    of_darknet("oneoff2 two.cfg one.weights theirs 2")
    assert run(["oneoff2", "two.cfg", "one.weights", "ours", "2"], capsys)[0] == 0
    assert pathlib.Path("ours").read_bytes() == pathlib.Path("theirs").read_bytes()
    status, _, err = run(["oneoff2", "two.cfg", "one.weights", "ours", "4"], capsys)
    assert status == 1
    assert "two.cfg: layer 4: expected 0..3" in err


@needs_darknet
def test_print_is_that_of_c(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_network("t", TOWERS)
    assert run(["print", "t.cfg", "t.weights", "2"], capsys)[:2] == (0, of_darknet("print t.cfg t.weights 2"))
    status, _, err = run(["print", "t.cfg", "t.weights", "1"], capsys)
    assert (status, "t.cfg: layer 1: expected a convolution" in err) == (1, True)


RNN = (
    "[net]\ninputs=128\nbatch=1\ntime_steps=1\n[rnn]\noutput=16\nhidden=16\nactivation=tanh\n"
    "[connected]\noutput=128\nactivation=linear\n[softmax]\n"
)


@pytest.fixture
def language_model(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """CFG and WEIGHTS of a network for characters."""
    monkeypatch.chdir(tmp_path)
    pathlib.Path("r.cfg").write_text(RNN)
    network = dk.load("r.cfg")
    random_networks.randomise(network)
    dk.save_weights(network, "r.weights")
    return ["r.cfg", "r.weights"]


def read(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stdin have a text."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


@needs_darknet
@pytest.mark.parametrize(
    ("name", "text"),
    [("validtactic", "a step >> rw foo.\n>> auto.\nnext >>tail."), ("vec", "one line only\n")],
)
def test_numbers_of_language_models_are_those_of_c(
    language_model: list[str], name: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read(text, monkeypatch)
    line = ["rnn", name, *language_model, "-seed", "ab"]
    status, out, _ = run(line, capsys)
    assert status == 0
    theirs = of_darknet(" ".join(line), text)
    ours_words, words = (re.split(r"[ ,\n]+", printed) for printed in (out, theirs))
    assert len(ours_words) == len(words) > 16
    for ours, expected in zip(ours_words, words, strict=True):
        if re.fullmatch(r"-?[\d.]+(e-\d+)?", expected):
            assert float(ours) == pytest.approx(float(expected), rel=1e-5)
        else:
            assert ours == expected


def test_a_line_of_vec_starts_from_an_empty_state(
    language_model: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read("same\nother\nsame\n", monkeypatch)
    status, out, _ = run(["rnn", "vec", *language_model], capsys)
    first, second, third = out.splitlines()
    assert status == 0
    assert first == third != second
    assert (first.split(",")[0], len(first.split(","))) == ("same", 17)


def test_generatetactic_continues_stdin_up_to_the_end_of_a_sentence(
    language_model: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network gives all characters the same probability, but a line end after a full stop."""
    network = dk.load(*language_model)
    for tensor in network.state_dict().values():
        tensor.zero_()
    network[1].state_dict()["biases"][ord(".")] = 20
    dk.save_weights(network, "r.weights")
    read("abc", monkeypatch)
    status, out, _ = run(["rnn", "generatetactic", *language_model, "-len", "7"], capsys)
    assert (status, out) == (0, ".......\n")
    network[1].state_dict()["biases"][ord("\n")] = 20
    dk.save_weights(network, "r.weights")
    read("abc", monkeypatch)
    status, out, _ = run(["rnn", "generatetactic", *language_model, "-len", "200", "-srand", "5"], capsys)
    assert status == 0
    assert re.fullmatch(r"\n*\.+\n", out)


def test_help_and_version_of_hank_ais_fork(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version"], capsys)[:2] == (0, f"darknet-py {__version__}\n")
    status, out, _ = run(["help"], capsys)
    assert status == 0
    assert " detector test DATA CFG WEIGHTS [IMAGE]" in out
    assert cli.main(["help", "extra"]) == 0
