"""The functions of Darknet's command line compute and print what C does."""

from __future__ import annotations

import io
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import darknet_py as dk
from darknet_py import cli
from tests.commands.test_darknet_lines import run
from tests.helpers import random_networks

LAYERS = """
[net]
width=32
height=24
channels=3
[convolutional]
filters=8
size=3
stride=2
pad=1
batch_normalize=1
activation=leaky
[convolutional]
filters=6
size=3
groups=2
activation=leaky
[maxpool]
size=2
stride=2
[connected]
output=12
batch_normalize=1
activation=relu
[connected]
output=5
activation=linear
[softmax]
"""


@pytest.fixture
def weights(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three weights files of ``LAYERS``, with the revision that pjreddie's fork writes."""
    monkeypatch.chdir(tmp_path)
    pathlib.Path("c.cfg").write_text(LAYERS)
    names = []
    for seed, name in enumerate(("a.weights", "b.weights", "c.weights")):
        torch.manual_seed(seed)
        network = dk.load("c.cfg")
        random_networks.randomise(network)
        network.seen = 640
        network.version = (0, 2, 0)
        dk.save_weights(network, name)
        names.append(name)
    return names


TOOLS = ("rescale", "rgbgr", "reset", "normalize", "denormalize")


@pytest.mark.skipif(shutil.which("darknet") is None, reason="compares with the Debian package darknet")
@pytest.mark.parametrize(
    "line",
    [
        *(f"{tool} c.cfg a.weights {{}}" for tool in TOOLS),
        "average c.cfg {} a.weights b.weights c.weights",
        "partial c.cfg a.weights {} 4",
    ],
)
def test_weights_files_are_those_of_c(weights: list[str], line: str) -> None:
    del weights
    subprocess.run(["darknet", *line.format("theirs").split()], capture_output=True, check=True)
    assert cli.main(line.format("ours").split()) == 0
    assert pathlib.Path("ours").read_bytes() == pathlib.Path("theirs").read_bytes()


@pytest.mark.skipif(shutil.which("darknet") is None, reason="compares with the Debian package darknet")
@pytest.mark.parametrize("line", ["ops c.cfg", "statistics c.cfg a.weights"])
def test_numbers_of_a_network_are_those_of_c(weights: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    del weights
    theirs = subprocess.run(["darknet", *line.split()], capture_output=True, text=True, check=True).stdout
    assert run(line.split(), capsys)[:2] == (0, theirs)


def test_folding_keeps_the_outputs(weights: list[str]) -> None:
    """``reset`` and ``denormalize`` change the weights, but not what the network computes."""
    del weights
    x = torch.rand(2, 3, 24, 32)
    assert cli.main(["reset", "c.cfg", "a.weights", "reset.weights"]) == 0
    assert cli.main(["denormalize", "c.cfg", "a.weights", "plain.weights"]) == 0
    pathlib.Path("plain.cfg").write_text(LAYERS.replace("batch_normalize=1\n", ""))
    with torch.inference_mode():
        expected = dk.load("c.cfg", "a.weights")(x)[-1]
        torch.testing.assert_close(dk.load("c.cfg", "reset.weights")(x)[-1], expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(dk.load("plain.cfg", "plain.weights")(x)[-1], expected, atol=1e-4, rtol=1e-4)


def test_speed_and_visualize_and_imtest(weights: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    del weights
    status, out, _ = run(["speed", "c.cfg", "2"], capsys)
    assert status == 0
    assert re.match(r"\n2 evals, \d+\.\d{6} Seconds\nFloating Point Operations: 0.00 Bn\nFLOPS: ", out)
    assert run(["visualize", "c.cfg", "a.weights", "-dont_show"], capsys)[:2] == (0, "visualized.png: written\n")
    with Image.open("visualized.png") as image:
        assert image.mode == "RGB"
    Image.fromarray(np.full((2, 2, 3), 255, np.uint8)).save("white.png")
    assert run(["imtest", "white.png"], capsys)[:2] == (0, "L2 Norm: 3.464102\n")


CLASSIFIER = "[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters=2\nbatch_normalize=1\n[avgpool]\n[softmax]\n"


@pytest.fixture
def classifier(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """DATA, CFG and WEIGHTS of a classifier that calls every bright image "light"."""
    monkeypatch.chdir(tmp_path)
    pathlib.Path("c.cfg").write_text(CLASSIFIER)
    network = dk.load("c.cfg")
    for name, value in network.state_dict().items():
        value.fill_(0 if "mean" in name or "biases" in name else 1)
    with torch.no_grad():
        network.state_dict()["layers.0.weights"][1].mul_(3)
    dk.save_weights(network, "c.weights")
    for name in ("dark1.png", "light1.png"):
        Image.fromarray(np.full((10, 12, 3), 200, np.uint8)).save(name)
    pathlib.Path("list").write_text("dark1.png\nlight1.png\n")
    pathlib.Path("names").write_text("dark\nlight\n")
    pathlib.Path("c.data").write_text("classes=2\nnames=names\nlabels=names\nvalid=list\ntest=list\ntop=2\n")
    return ["c.data", "c.cfg", "c.weights"]


def test_classifier_predict_reads_stdin(
    classifier: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("light1.png\n\ndark1.png\n"))
    status, out, _ = run(["classifier", "predict", *classifier, "-t", "1"], capsys)
    assert status == 0
    assert [line.split(":")[0] for line in out.splitlines()] == ["light", "light"]
    status, out, _ = run(["classifier", "predict", "-t", "2", *classifier, "dark1.png"], capsys)
    assert (status, len(out.splitlines())) == (0, 2)


@pytest.mark.parametrize("name", ["valid", "validcrop", "validfull"])
def test_classifier_valid(classifier: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    expected = "0: top 1: 0.000000, top 2: 1.000000\n1: top 1: 0.500000, top 2: 1.000000\n"
    for topk in ([], ["-topk"], ["-topk", "2"]):
        assert run(["classifier", name, *topk, *classifier], capsys)[:2] == (0, expected)


def test_classifier_label_test_and_try(classifier: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["classifier", "label", *classifier], capsys)[:2] == (0, "light\nlight\n")
    status, out, _ = run(["classifier", "test", *classifier], capsys)
    assert status == 0
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[0] for row in rows] == ["dark1.png", "light1.png"]
    assert sum(map(float, rows[0][1:])) == pytest.approx(1)
    status, out, _ = run(["classifier", "try", *classifier, "light1.png", "1"], capsys)
    lines = out.splitlines()
    assert (status, len(lines)) == (0, 2 + 2)  # the layer's outputs, and the two classes
    pixels = [(200 / 255 - m) / s for m, s in ((0.48263, 0.22590), (0.45230, 0.22121), (0.40099, 0.22104))]
    assert float(lines[0]) == pytest.approx(1 / (1 + np.exp(-sum(pixels))), rel=1e-3)
    assert float(lines[1]) == pytest.approx(1 / (1 + np.exp(-3 * sum(pixels))), rel=1e-3)


def test_rnn_valid_prints_the_perplexity_so_far(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("r.cfg").write_text("[net]\ninputs=256\n[connected]\noutput=256\nactivation=linear\n[softmax]\n")
    network = dk.load("r.cfg")
    for value in network.state_dict().values():
        value.zero_()
    dk.save_weights(network, "r.weights")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a b")))
    status, out, _ = run(["rnn", "valid", "r.cfg", "r.weights"], capsys)
    assert status == 0
    assert out.splitlines() == [
        "1 BPC: 8.0000   Perplexity: 256.0000    Word Perplexity: 16.0000",
        "2 BPC: 8.0000   Perplexity: 256.0000    Word Perplexity: 256.0000",
    ]


def of_darknet(line: str, text: str = "") -> str:
    """What the Debian package darknet, which is pjreddie's fork, prints to stdout."""
    return subprocess.run(["darknet", *line.split()], input=text, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("darknet") is None, reason="compares with the Debian package darknet")
def test_perplexity_is_that_of_c(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("r.cfg").write_text(
        "[net]\ninputs=128\nbatch=1\ntime_steps=1\n[rnn]\noutput=16\nhidden=16\nactivation=tanh\n"
        "[connected]\noutput=128\nactivation=linear\n[softmax]\n"
    )
    network = dk.load("r.cfg")
    random_networks.randomise(network)
    dk.save_weights(network, "r.weights")
    text = "to be or not to be"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    status, out, _ = run(["rnn", "valid", "r.cfg", "r.weights"], capsys)
    assert status == 0
    ours, theirs = (re.findall(r"[\d.]+", printed) for printed in (out, of_darknet("rnn valid r.cfg r.weights", text)))
    assert list(map(float, ours)) == pytest.approx(list(map(float, theirs)), rel=2e-6)


@pytest.mark.skipif(shutil.which("darknet") is None, reason="compares with the Debian package darknet")
@pytest.mark.parametrize("name", ["label", "valid10", "validmulti"])
def test_lines_of_classifiers_are_those_of_c(
    classifier: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["classifier", name, *classifier]
    assert run(line, capsys)[:2] == (0, of_darknet(" ".join(line)))
