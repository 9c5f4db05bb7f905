"""Each ``train`` and ``demo`` line of the forks runs on a small network, with its flags, and prints Darknet's lines."""

from __future__ import annotations

import pathlib
import re

import numpy as np
import pytest
import torch
from PIL import Image

import darknet_py as dk
from darknet_py import cli
from darknet_py.commands import _darknet
from darknet_py.commands._darknet.arguments import split_line
from darknet_py.commands._darknet.unsupported import ANSWERS
from tests.commands.test_darknet_lines import LINES, split
from tests.helpers import tiny_videos

NET = "[net]\nbatch=2\nmax_batches=2\nlearning_rate=0.001\npolicy=constant\n"
CFGS = {
    "classifier": f"{NET}width=8\nheight=8\nchannels=3\n[conv]\nfilters=2\n[avgpool]\n[softmax]\n[cost]\n",
    "rnn": f"{NET}inputs=256\ntime_steps=2\n[connected]\noutput=256\n[softmax]\n[cost]\n",
    "detector": f"{NET}width=32\nheight=32\nchannels=3\n[conv]\nfilters=14\nsize=32\nstride=32\nactivation=linear\n"
    "[yolo]\nclasses=2\nmask=0,1\nnum=2\nanchors=8,8, 16,16\n",
}
NUMBER = r"-?\d+\.\d{6}"
OUTPUT = {
    "detector train": rf"\n 2: {NUMBER}, {NUMBER} avg loss, {NUMBER} rate, {NUMBER} seconds, 4 images, ",
    "classifier train": rf"\n2, 4\.000: {NUMBER}, {NUMBER} avg, {NUMBER} rate, {NUMBER} seconds, 4 images, ",
    "yolo train": rf"\n2: {NUMBER}, {NUMBER} avg, {NUMBER} rate, {NUMBER} seconds, 4 images\n",
    "coco train": rf"\n2: {NUMBER}, {NUMBER} avg, {NUMBER} rate, {NUMBER} seconds, 4 images\n",
    "rnn train": r"done: iteration 2, ",
    "classifier demo": r"Classifier Demo\n\rFPS: ",
    "demo": r"Objects:\n\n(.*\n)*FPS:\d+\.\d \t AVG_FPS:\d+\.\d\n(.*\n)*input video stream closed\. \n$",
}


def lines() -> list[tuple[str, tuple[str, ...]]]:
    """Function and flags of each line, without repetition."""
    found: dict[tuple[str, tuple[str, ...]], None] = {}
    for words in map(split, LINES):
        line = split_line(words)
        function, _ = _darknet.understand(line) if line.words[0] not in _darknet.SHARED else (None, None)
        if function is None or function.name in ANSWERS or function.name.startswith("cifar"):
            continue
        if function.name.endswith((" train", " demo")):
            flags = [flag.name if value is True else f"{flag.name} {value}" for flag, value in line.values.items()]
            found[function.name, tuple(sorted(flags))] = None
    return sorted(found)


def parameters() -> list[object]:
    """The lines, those with flags marked slow."""
    return [
        pytest.param(name, flags, id=" ".join([name, *flags]), marks=[pytest.mark.slow] if flags else [])
        for name, flags in lines()
    ]


@pytest.mark.parametrize(("name", "flags"), parameters())
def test_the_line_runs(
    name: str,
    flags: tuple[str, ...],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    command, _, function = name.partition(" ")
    pathlib.Path("my.cfg").write_text(CFGS.get(command, CFGS["detector"]))
    dk.save_weights(dk.load("my.cfg").initialise(), "my.weights")
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save("cat.png")
    pathlib.Path("cat.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    pathlib.Path("list").write_text("cat.png\n")
    pathlib.Path("names").write_text("cat\ndog\n")
    pathlib.Path("my.data").write_text("classes=2\nnames=names\nlabels=names\ntrain=list\nvalid=list\nbackup=.\n")
    for text in ("data/shakespeare.txt", "text.txt"):
        pathlib.Path(text).parent.mkdir(exist_ok=True)
        pathlib.Path(text).write_text("to be or not to be")
    words = ["my.cfg", "my.weights"] if command in ("yolo", "coco", "rnn") else ["my.data", "my.cfg", "my.weights"]
    if name in ("yolo train", "coco train"):
        words.append("list")
    if function == "demo":
        pytest.importorskip("av", reason="videos are read with PyAV: pip install 'darknet-torch[video]'")
        tiny_videos.write_video(pathlib.Path("clip.mp4"), 2)
        words.append("clip.mp4")
    status = cli.main([command, function, *words, *" ".join(flags).split()])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    assert re.search(OUTPUT.get(name, OUTPUT["demo"]), printed.out), printed.out
    for flag in flags:
        kind, _, path = flag.partition(" ")
        assert kind not in ("-chart", "-out_filename", "-json_file_output") or pathlib.Path(path).stat().st_size > 0


def test_the_lines_are_many() -> None:
    assert len(lines()) >= 60
