"""Networks for the tests of export."""

from __future__ import annotations

from darknet_py.network import Network
from tests.helpers import random_networks

# A detector: two heads, a pooling with padding, an upsampling.
DETECTOR = """
[net]
width=64
height=96
channels=3
[conv]
filters=8
size=3
stride=8
pad=1
batch_normalize=1
activation=mish
[maxpool]
size=3
stride=1
[conv]
filters=18
size=1
activation=linear
[yolo]
mask=0,1
anchors=10,14,23,27,37,58
classes=4
num=3
scale_x_y=1.05
nms_kind={kind}
[route]
layers=1
[maxpool]
size=2
stride=2
[upsample]
stride=2
[conv]
filters=9
size=1
activation=linear
[yolo]
mask=2
anchors=10,14,23,27,37,58
classes=4
num=3
nms_kind={kind}
"""

STATEFUL = """
[net]
inputs=6
[rnn]
output=4
hidden=5
batch_normalize=1
[lstm]
output=3
[gru]
output=4
"""


def detector(kind: str = "greedynms") -> Network:
    """Return ``DETECTOR`` with random weights that give confident detections."""
    net = random_networks.network(DETECTOR.format(kind=kind))
    for layer in list(net)[2:]:
        for name, tensor in layer.stored():
            if name == "weights":
                tensor.data.mul_(4)
    return net
