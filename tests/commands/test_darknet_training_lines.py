"""``detector train`` and ``classifier train`` print the numbers that C Darknet prints, on the same streams.

One image that is its own mirror image, of the network's size, jitter and colours off: nothing of a batch is random.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

import darknet_py as dk
from darknet_py import cli
from tests.helpers import reference_values

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "training_lines"
NET = """
[net]
batch=4
subdivisions=2
width=32
height=32
channels=3
momentum=0.9
decay=0.0005
learning_rate=0.01
burn_in=3
max_batches=8
policy=steps
steps=5,7
scales=.1,.1
saturation=1
exposure=1
hue=0
min_crop=32
max_crop=32
angle=0
aspect=1
[convolutional]
filters=8
size=3
stride=2
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
filters={}
size={}
stride={}
activation=linear
"""
FLIP = "[net]\nflip=0\n"  # not known to pjreddie's fork, which flips half of the images
YOLO = "[yolo]\nmask=0,1\nanchors=8,9, 12,14\nclasses=2\nnum=2\njitter=0\nrandom=0\n"
REGION = "[region]\nanchors=1,1, 1.6,2\nclasses=2\ncoords=4\nnum=2\nsoftmax=1\njitter=0\nrescore=1\nobject_scale=5\n"
DETECTION = "[detection]\nclasses=2\ncoords=4\nnum=2\nside=2\nsqrt=1\njitter=0\nrescore=1\ncoord_scale=5\n"
CFGS = {
    "yolo": NET.format(14, 1, 1) + YOLO + "iou_normalizer=1\n",
    "iou": NET.format(14, 1, 1) + YOLO + "iou_loss=ciou\niou_normalizer=0.07\n",
    "region": NET.format(14, 1, 1) + REGION,
    "detection": NET.format(12, 4, 4) + DETECTION,
    "classifier": NET.format(3, 1, 1) + "[avgpool]\n[softmax]\ngroups=1\n",
}


def line_of(name: str) -> list[str]:
    """The command line that trains a network of ``CFGS``."""
    network = [f"{name}.cfg", f"{name}.weights", "-dont_show"]
    if name == "detection":  # the labels that [detection] needs are those of this command in C
        return ["yolo", "train", *network]
    command = "classifier" if name == "classifier" else "detector"
    return [command, "train", f"{command}.data", *network]


def write_files(flip: str = FLIP) -> None:
    """Write cfgs, weights, image, label and lists to the working directory, as C read them."""
    for seed, (name, text) in enumerate(CFGS.items()):
        pathlib.Path(f"{name}.cfg").write_text(text.replace("[net]\n", flip))
        network = dk.load(f"{name}.cfg")
        for number, tensor in enumerate(network.state_dict().values()):
            values = reference_values.uniform(100 * seed + number, 0, tensor.numel()) * 0.6 - 0.3
            tensor.copy_(torch.from_numpy(values).view(tensor.shape))
        network.version, network.seen = (0, 2, 0), 0
        dk.save_weights(network, f"{name}.weights")
    half = reference_values.uniform(7, 0, 8 * 4 * 3).reshape(8, 4, 3)
    pixels = (np.concatenate((half, half[:, ::-1]), axis=1) * 255.99).astype(np.uint8)
    Image.fromarray(np.kron(pixels, np.ones((4, 4, 1), np.uint8))).save("cat.png")
    pathlib.Path("cat.txt").write_text("1 0.5 0.45 0.3 0.35\n")
    pathlib.Path("data/voc").mkdir(parents=True)
    for path in ("list", "data/voc/train.txt"):
        pathlib.Path(path).write_text("cat.png\n")
    pathlib.Path("names").write_text("cat\ndog\nowl\n")
    for command, classes in (("detector", 2), ("classifier", 3)):
        pathlib.Path(f"{command}.data").write_text(
            f"classes={classes}\nnames=names\nlabels=names\ntrain=list\nvalid=list\nbackup=backup\n"
        )
    pathlib.Path("backup").mkdir(exist_ok=True)


def numbers_of(text: str) -> list[list[str]]:
    """The words of the lines with numbers of a head or an iteration, without times."""
    kept = [line for line in text.splitlines() if re.search(r"Region|Detection Avg|seconds, \d+ images", line)]
    untimed = [re.sub(r"[-\d.]+ (seconds|hours left)", r"\1", line).split() for line in kept]
    return [words[: words.index("hours") if "hours" in words else None] for words in untimed]


def assert_equal_lines(ours: str, theirs: str, tolerance: float = 2e-5) -> None:
    """Compare words, and numbers up to rounding."""
    rows, expected = numbers_of(ours), numbers_of(theirs)
    assert len(rows) == len(expected) > 0
    for row, other in zip(rows, expected, strict=True):
        text, text_other = (re.sub(r"-?\d+\.\d+", "#", " ".join(words)).rstrip(" ,") for words in (row, other))
        assert text == text_other
        values, values_other = (
            [float(n) for n in re.findall(r"-?\d+\.\d+", " ".join(words))] for words in (row, other)
        )
        assert values == pytest.approx(values_other, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("name", CFGS)
def test_the_lines_of_a_training_are_those_of_c(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """AlexeyAB's build, of the classifier pjreddie's: see golden/README.md."""
    monkeypatch.chdir(tmp_path)
    write_files()
    assert cli.main([*line_of(name), "-i", "-1"]) == 0
    printed = capsys.readouterr()
    assert_equal_lines(printed.out, (GOLDEN / f"{name}.out").read_text())
    if (GOLDEN / f"{name}.err").exists():
        assert_equal_lines(printed.err, (GOLDEN / f"{name}.err").read_text())
    else:
        assert not re.search(r"Region|Detection Avg|seconds, \d+ images", printed.err)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("darknet") is None, reason="compares with the Debian package darknet")
@pytest.mark.parametrize("name", ["classifier", "yolo"])
def test_the_lines_of_a_training_are_those_of_the_installed_darknet(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The package is pjreddie's fork, whose iterations end with the number of images."""
    monkeypatch.chdir(tmp_path)
    write_files("[net]\n")
    line = ["stdbuf", "-oL", "darknet", *line_of(name)[:-1]]  # its detector may crash when it has trained
    theirs = subprocess.run(line, capture_output=True, text=True, check=False).stdout
    shutil.rmtree("backup")
    assert cli.main([*line_of(name), "-i", "-1"]) == 0
    ours = capsys.readouterr().out
    iteration = r"^ *(\d+)(?:, [\d.]+)?: ([\d.]+), ([\d.]+) avg(?: loss)?, ([\d.]+) rate, [\d.]+ seconds, (\d+) images"
    rows, expected = (
        [list(map(float, row)) for row in re.findall(iteration, text, re.MULTILINE)] for text in (ours, theirs)
    )
    assert len(expected) >= 5
    np.testing.assert_allclose(rows[: len(expected)], expected, rtol=2e-5, atol=2e-6)
