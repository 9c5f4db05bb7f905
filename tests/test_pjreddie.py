"""pjreddie's dialect compared with pjreddie's C code, if Debian's package ``darknet`` is installed."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import darknet_py as dk

LIBRARY = pathlib.Path("/usr/lib/darknet/libdarknet.so")
SHARE = pathlib.Path("/usr/share/darknet")
IMAGES = ("dog", "horses", "person")

pytestmark = [
    pytest.mark.skipif(not LIBRARY.exists(), reason=f"{LIBRARY}: Debian's package darknet is not installed"),
    pytest.mark.filterwarnings("ignore::darknet_py.UnusedOptionWarning"),
]

# The C code runs in its own process, as it exits on an invalid file.
PREDICT = """
import ctypes, sys, numpy as np
library, cfg, weights, x, y = sys.argv[1:]
c = ctypes.CDLL(library)
c.load_network.restype = ctypes.c_void_p
c.network_predict.restype = ctypes.POINTER(ctypes.c_float)
c.network_predict.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_float)]
c.set_batch_network.argtypes = [ctypes.c_void_p, ctypes.c_int]
net = c.load_network(cfg.encode(), weights.encode(), 0)
c.set_batch_network(net, 1)
inputs = np.load(x)
outputs = []
for frame in inputs:
    frame = np.ascontiguousarray(frame)
    output = c.network_predict(net, frame.ctypes.data_as(ctypes.POINTER(ctypes.c_float)))
    outputs.append(np.ctypeslib.as_array(output, (int(sys.stdin.readline()),)).copy())
np.save(y, outputs)
"""

DETECT = """
import ctypes, json, sys
library, cfg, weights, path = sys.argv[1:]
class Image(ctypes.Structure):
    _fields_ = [("w", ctypes.c_int), ("h", ctypes.c_int), ("c", ctypes.c_int), ("data", ctypes.POINTER(ctypes.c_float))]
class Detection(ctypes.Structure):
    _fields_ = [("box", ctypes.c_float * 4), ("classes", ctypes.c_int), ("prob", ctypes.POINTER(ctypes.c_float)),
                ("mask", ctypes.POINTER(ctypes.c_float)), ("objectness", ctypes.c_float), ("sort_class", ctypes.c_int)]
c = ctypes.CDLL(library)
c.load_network.restype = ctypes.c_void_p
c.set_batch_network.argtypes = [ctypes.c_void_p, ctypes.c_int]
c.load_image_color.restype = Image
c.network_predict_image.argtypes = [ctypes.c_void_p, Image]
c.get_network_boxes.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_float, ctypes.c_float,
                                ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
c.get_network_boxes.restype = ctypes.POINTER(Detection)
c.do_nms_sort.argtypes = [ctypes.POINTER(Detection), ctypes.c_int, ctypes.c_int, ctypes.c_float]
net = c.load_network(cfg.encode(), weights.encode(), 0)
c.set_batch_network(net, 1)
image = c.load_image_color(path.encode(), 0, 0)
c.network_predict_image(net, image)
count = ctypes.c_int()
detections = c.get_network_boxes(net, image.w, image.h, 0.3, 0.5, None, 0, ctypes.byref(count))
c.do_nms_sort(detections, count.value, 80, 0.45)
kept = [detections[i] for i in range(count.value)]
print(json.dumps([[k, d.prob[k], *d.box] for d in kept for k in range(80) if d.prob[k] > 0]))
"""


def randomise(net: dk.Network) -> None:
    """Set random weights with which no layer's output vanishes or explodes.

    Variances are near 100: pjreddie's CPU code divides by sqrt(variance) + 1e-6 instead of sqrt(variance + 1e-5),
    and with variances near 1 the difference would add up over the layers of a deep network.
    """
    generator = torch.Generator().manual_seed(7)
    for name, tensor in net.state_dict().items():
        kind = name.rpartition(".")[2]
        low, high = {"scales": (8.0, 12.0), "rolling_variance": (80.0, 120.0)}.get(kind, (-0.1, 0.1))
        if kind == "weights":
            high = (3 / max(tensor[0].numel(), 1)) ** 0.5
            low = -high
        tensor.copy_(torch.empty(tensor.shape).uniform_(low, high, generator=generator))


def test_a_binary_input_is_padded_with_0_as_in_the_c_library(tmp_path: pathlib.Path) -> None:
    binary = "[convolutional]\nfilters=8\nsize=3\npad=1\nxnor=1\nactivation=leaky\n"
    cfg = tmp_path / "binary.cfg"
    cfg.write_text(
        "[net]\nwidth=9\nheight=7\nchannels=3\n[convolutional]\nfilters=8\nactivation=linear\n"
        f"{binary}bin_output=1\nbatch_normalize=1\n{binary}groups=2\n{binary}stride=2\n[avgpool]\n[softmax]\n"
    )
    check_outputs(cfg, tmp_path)


@pytest.mark.parametrize(
    "name", ["cifar", "darknet", "tiny", "gru", "rnn", "yolov2-tiny-voc", "yolov3-tiny", "resnet18"]
)
def test_outputs_equal_those_of_the_c_library(name: str, tmp_path: pathlib.Path) -> None:
    check_outputs(SHARE / "cfg" / f"{name}.cfg", tmp_path)


def check_outputs(cfg: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Compare the outputs of a network with random weights."""
    net = dk.load(cfg, dialect="pjreddie")
    randomise(net)
    dk.save_weights(net, tmp_path / "w")
    shape = (net.shape.floats,) if net.shape.height == 1 else tuple(net.shape)
    frames = np.random.default_rng(3).random((2, *shape), dtype=np.float32)
    np.save(tmp_path / "x.npy", frames)
    actual = [net(torch.from_numpy(frame)[None])[-1].flatten().numpy(force=True) for frame in frames]
    subprocess.run(
        [sys.executable, "-c", PREDICT, LIBRARY, cfg, tmp_path / "w", tmp_path / "x.npy", tmp_path / "y.npy"],
        input="".join(f"{len(y)}\n" for y in actual),
        text=True,
        check=True,
        capture_output=True,
    )
    for output, expected in zip(actual, np.load(tmp_path / "y.npy"), strict=True):
        assert np.abs(output - expected).max() < 1e-4 * np.sqrt(np.square(expected).mean())


def test_boxes_equal_those_of_the_c_library(yolov3_tiny_weights: pathlib.Path, tmp_path: pathlib.Path) -> None:
    cfg = SHARE / "cfg" / "yolov3-tiny.cfg"
    detector = dk.Detector(dk.load(cfg, yolov3_tiny_weights, dialect="pjreddie"), threshold=0.3)
    for image in IMAGES:
        path = tmp_path / f"{image}.png"  # not a JPEG: the decoders of Darknet and Pillow differ by a level or two
        Image.open(SHARE / f"data/{image}.jpg").convert("RGB").save(path)
        done = subprocess.run(
            [sys.executable, "-c", DETECT, LIBRARY, cfg, yolov3_tiny_weights, path],
            capture_output=True,
            text=True,
            check=True,
        )
        expected = sorted(json.loads(done.stdout.splitlines()[-1]))
        boxes = detector(path).boxes
        actual = sorted(zip(boxes.cls.tolist(), boxes.conf.tolist(), *boxes.xywh.T.tolist(), strict=True))
        assert [row[0] for row in actual] == [row[0] for row in expected]
        assert expected
        for row, expected_row in zip(actual, expected, strict=True):
            assert row == pytest.approx(expected_row, rel=1e-3, abs=0.1)
