"""A detector of two classes with many detections on noise, and images of noise with labels."""

from __future__ import annotations

import pathlib

import numpy as np
import torch
from PIL import Image

from darknet_py import loading
from darknet_py.network import Network

CFG = """
[net]
width=64
height=64
channels=3
[convolutional]
filters=8
size=3
stride=8
pad=1
activation=leaky
[convolutional]
filters=14
size=1
activation=linear
[yolo]
mask=0,1
anchors=20,20,40,30
classes=2
num=2
nms_kind=greedynms
"""


def detector(folder: pathlib.Path) -> Network:
    """Return the network and write its cfg to ``folder``/tiny.cfg."""
    path = folder / "tiny.cfg"
    path.write_text(CFG)
    torch.manual_seed(1)
    network = loading.load(path)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)
    return network


def images(folder: pathlib.Path) -> pathlib.Path:
    """Write five images, the fourth of them broken, their labels, a list, names and a .data file; return the folder."""
    folder = folder / "set"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        size = (int(rng.integers(30, 90)), int(rng.integers(30, 90)), 3)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{number}.png")
        rows = [f"{rng.integers(2)} {x:.3f} .5 .4 .5" for x in (0.3, 0.6)]
        (folder / f"{number}.txt").write_text("\n".join(rows))
    (folder / "3.png").write_bytes(b"no image")
    (folder / "list.txt").write_text("\n".join(str(folder / f"{number}.png") for number in range(5)))
    (folder / "my.names").write_text("cat\ntraffic/light\n")
    (folder / "my.data").write_text("valid = list.txt\nnames = my.names\n")
    return folder
