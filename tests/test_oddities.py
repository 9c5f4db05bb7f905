"""Rows of docs/oddities.md that no other test covers: where this package differs from C Darknet, and how."""

from __future__ import annotations

import operator
import pathlib
import re

import pytest
import torch
import torch.nn.functional as F

import darknet_py
from darknet_py.activations import Activation
from darknet_py.cfg import Dialect
from darknet_py.errors import ConfigError, DataError, UnusedOptionWarning
from darknet_py.layers import DecodeOptions, Shape
from darknet_py.layers._tree import Tree
from darknet_py.layers.heads.detection import Detection
from darknet_py.layers.heads.region import Region
from darknet_py.layers.heads.yolo import Yolo
from darknet_py.training.trainer import Trainer
from tests.helpers import random_networks
from tests.helpers.layer_samples import TREE, TREE_HEAD

NET = "[net]\nwidth=8\nheight=8\nchannels=4\n"
HEAD = NET + "[convolutional]\nfilters=8\nsize=1\n[yolo]\nclasses=3\nnum=1\nanchors=4,4\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[convolutional]\nsize=3\ndilation=2", "dilation: expected an odd size and padding of size / 2"),
        ("[convolutional]\nfilters=6\ngroups=4", "4 channels and 6 filters do not divide into 4 groups"),
        ("[convolutional]\nactivation=swiish", "activation: expected one of linear, logistic"),
        ("[upsampel]", "unknown section (did you mean 'upsample'?)"),
        ("[empty]\n[net]", "unknown section"),
        ("[empty]\n[route]\nlayers=3", "layer 1 [route] refers to layer 3, which does not precede it"),
        ("[crnn]\noutput=2\nhidden=2", "expected convolutions that keep the size"),
        ("[maxpool]\nsize=2\npadding=4", "padding=4: expected less than 2 * size = 4"),
    ],
)
def test_cfgs_that_c_misreads_or_crashes_on_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        random_networks.network(NET + text)


@pytest.mark.parametrize(
    ("net", "head", "message"),
    [
        (
            "",
            "nms_kind=diou",
            "9: [yolo] nms_kind: expected one of default, greedynms, diounms, cornersnms, soft-linear, soft-gaussian, "
            "wbf, got 'diou'",
        ),
        ("", "iou_loss=diuo", "9: [yolo] iou_loss: expected one of "),
        ("policy=setps", "", "5: [net] policy: expected one of "),
        ("scales=.1,,10", "", "5: [net] scales: expected a number, got ''"),
        ("momentum=9", "", "5: [net] momentum: expected 0..1, got '9'"),
    ],
)
def test_values_that_only_training_reads_do_not_stop_inference(net: str, head: str, message: str) -> None:
    text = f"{NET}{net}\n[convolutional]\nfilters=8\n[yolo]\n{head}\nclasses=3\nanchors=4,4\n"
    with pytest.warns(UnusedOptionWarning, match=re.escape(f"made.cfg:{message}")):
        network = random_networks.network(text)
    network(torch.zeros(1, *network.shape))
    with pytest.raises(ConfigError, match=re.escape(f"made.cfg:{message}")):
        Trainer(network)
    with pytest.raises(ConfigError, match=re.escape(f"made.cfg:{message}")):
        random_networks.network(text, strict=True)


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("convolutional", "coordconv"),
        ("convolutional", "dot"),
        ("convolutional", "stream"),
        ("route", "wait_stream"),
        ("maxpool", "maxpool_zero_nonmax"),
    ],
)
def test_keys_that_are_not_read_are_reported(section: str, key: str) -> None:
    needed = "layers=0\n" if section == "route" else ""
    with pytest.warns(UnusedOptionWarning, match=rf"\[{section}\] {key}: unknown option, ignored"):
        random_networks.network(f"{NET}[empty]\n[{section}]\n{needed}{key}=1\n")


def test_1x1_kernels_use_padding_and_both_strides() -> None:
    layer = random_networks.layer("convolutional", {"filters": "3", "padding": "2", "stride_y": "2"}, Shape(4, 6, 6))
    x = random_networks.random(2, 4, 6, 6)
    weights, biases = layer.state_dict()["weights"], layer.state_dict()["biases"]
    torch.testing.assert_close(layer(x), torch.sigmoid(F.conv2d(x, weights, biases, (2, 1), 2)))


def test_binary_is_ignored() -> None:
    x = random_networks.random(1, 4, 8, 8)
    plain, binary = (random_networks.network(f"{NET}[convolutional]\nfilters=3\n{key}") for key in ("", "binary=1\n"))
    assert torch.equal(plain[0](x), binary[0](x))


def test_a_route_to_an_antialiased_layer_gets_the_blurred_map() -> None:
    net = random_networks.network(
        NET + "[convolutional]\nfilters=2\nstride=2\nantialiasing=1\n[empty]\n[route]\nlayers=0\n"
    )
    assert [layer.shape for layer in net] == [Shape(2, 4, 4)] * 3
    x = random_networks.random(1, 4, 8, 8)
    assert torch.equal(net(x)[0], net[0](x))


def test_spatial_softmax_acts_in_pjreddies_dialect_only() -> None:
    x = random_networks.random(1, 3, 2, 2)
    alexeyab, pjreddie = (
        random_networks.layer("softmax", {"spatial": "1"}, Shape(3, 2, 2), dialect=d)(x) for d in Dialect
    )
    torch.testing.assert_close(alexeyab.sum(), torch.tensor(1.0))
    torch.testing.assert_close(pjreddie.sum(dim=1), torch.ones(1, 2, 2))


def test_contrastive_outputs_zeros() -> None:
    layer = random_networks.layer("contrastive", {"yolo_layer": "0"}, Shape(3, 2, 2))
    assert not layer(random_networks.random(1, 3, 2, 2)).any()


def test_iseg_runs_without_targets() -> None:
    x = random_networks.random(1, 3, 2, 2)
    y = random_networks.layer("iseg", {"classes": "1", "ids": "2"}, Shape(3, 2, 2), dialect=Dialect.PJREDDIE)(x)
    assert torch.equal(y[:, 1:], x[:, 1:])
    torch.testing.assert_close(y[:, :1], torch.sigmoid(x[:, :1]))


@pytest.mark.parametrize("dialect", list(Dialect))
def test_shortcut_of_a_larger_map_adds_every_second_cell(dialect: Dialect) -> None:
    layer = random_networks.layer("shortcut", {"from": "-2"}, Shape(2, 4, 4), Shape(3, 8, 8), dialect=dialect)
    x, other = random_networks.random(1, 2, 4, 4), random_networks.random(1, 3, 8, 8, seed=1)
    torch.testing.assert_close(layer(x, other), x + other[:, :2, ::2, ::2])


def test_newer_keys_act_in_pjreddies_dialect_too() -> None:
    keys = {"filters": "2", "size": "3", "pad": "1", "stride_x": "2", "dilation": "2", "activation": "mish"}
    layer = random_networks.layer("convolutional", keys, Shape(4, 8, 8), dialect=Dialect.PJREDDIE)
    assert layer.shape == Shape(2, 8, 4)
    assert (
        layer(random_networks.random(1, 4, 8, 8)) < 0
    ).any()  # pjreddie's code falls back to relu, which is not negative
    assert layer.options.activation is Activation.MISH  # type: ignore[attr-defined]


def test_images_are_stretched_or_letterboxed_by_dialect() -> None:
    boxed = [darknet_py.Detector(random_networks.network(HEAD, dialect=dialect)).letterbox for dialect in Dialect]
    assert boxed == [False, True]
    with_letterbox = HEAD.replace("[net]\n", "[net]\nletter_box=1\n")
    assert darknet_py.Detector(random_networks.network(with_letterbox)).letterbox


def test_the_number_of_class_names_is_checked() -> None:
    with pytest.raises(DataError, match="2 class names, but the network has 3 classes"):
        darknet_py.Detector(random_networks.network(HEAD), names=["cat", "dog"])


def test_missing_anchors_are_0_5_and_masked_anchors_beyond_num_are_0() -> None:
    anchors = operator.attrgetter("anchors")
    text = f"{NET}[convolutional]\nfilters=12\n[yolo]\nclasses=1\nnum=2\n"
    with pytest.warns(UnusedOptionWarning, match="num: anchors= has 1 pairs: expected num=1, got 2"):
        incomplete = random_networks.network(text + "anchors=7,8\n")
    assert anchors(incomplete.heads[0]) == ((7, 8), (0.5, 0.5))
    message = "num: mask= goes up to 2 and anchors= has 3 pairs: expected num=3, got 2"
    with pytest.warns(UnusedOptionWarning, match=message):
        beyond_num = random_networks.network(text + "mask=1,2\nanchors=7,8,5,6,3,4\n")
    assert anchors(beyond_num.heads[0]) == ((5, 6), (0, 0))


def test_the_threshold_of_a_class_tree_is_used() -> None:
    keys = dict(word.split("=", 1) for word in TREE_HEAD.split())
    head = random_networks.layer("region", keys, Shape(int(keys["classes"]) + 5, 4, 4))
    assert isinstance(head, Region)
    output = head(10 * random_networks.random(1, head.shape.channels, 4, 4))
    low, high = (head.decode(output, (128, 128), DecodeOptions(0.01, hierarchy))[0].probs for hierarchy in (0.1, 0.9))
    assert (high[high > 0] > 0.9).all()
    assert len(low) > len(high)


def test_boxes_of_detection_are_relative() -> None:
    head = random_networks.layer("detection", {"coords": "4", "side": "2", "classes": "1", "num": "1"}, Shape(24, 1, 1))
    assert isinstance(head, Detection)
    output = torch.full((1, 24, 1, 1), 0.5)
    detections = head.decode(output, (448, 448), DecodeOptions(0.1))[0]
    assert detections.boxes.tolist() == [[x, y, 0.5, 0.5] for y in (0.25, 0.75) for x in (0.25, 0.75)]


def test_newer_keys_of_yolo_are_ignored_in_pjreddies_dialect() -> None:
    keys = {"classes": "1", "num": "1", "anchors": "7,8"}
    newer = keys | {"scale_x_y": "1.2", "new_coords": "1", "nms_kind": "diounms"}
    x, size = random_networks.random(1, 6, 4, 4), (32, 32)
    plain, other = (random_networks.layer("yolo", k, Shape(6, 4, 4), dialect=Dialect.PJREDDIE) for k in (keys, newer))
    assert isinstance(plain, Yolo)
    assert isinstance(other, Yolo)
    assert torch.equal(plain(x), other(x))
    boxes = [head.decode(head(x), size, DecodeOptions(0.1))[0].boxes for head in (plain, other)]
    assert torch.equal(*boxes)
    assert plain.nms_options == other.nms_options


def test_batch_norm_starts_with_a_variance_of_0() -> None:
    net = random_networks.network(NET + "[convolutional]\nbatch_normalize=1\n").initialise()
    assert not net.state_dict()["layers.0.norm.rolling_variance"].any()


def test_nan_in_the_state_of_conv_lstm_becomes_0() -> None:
    layer = random_networks.layer("conv_lstm", {"output": "2", "size": "1"}, Shape(1, 2, 2))
    assert not layer(torch.full((1, 1, 2, 2), torch.nan)).any()
    assert layer(torch.ones(1, 1, 2, 2)).isfinite().all()


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.7])
def test_a_class_tree_is_descended_from_its_root(threshold: float) -> None:
    lines = [line.split() for line in pathlib.Path(TREE).read_text().splitlines() if line.strip()]
    parents = [int(parent) for _, parent in lines]
    values = random_networks.random(20, len(parents), low=0)

    def walk(row: list[float]) -> int:
        node, probability = -1, 1.0
        while node in parents:
            first = parents.index(node)
            group = [i for i in range(first, len(parents)) if parents[first : i + 1] == [node] * (i + 1 - first)]
            best = max(group, key=row.__getitem__)
            if probability * row[best] <= threshold:
                return best if node < 0 else node
            node, probability = best, probability * row[best]
        return node

    nodes = Tree(pathlib.Path(TREE)).descend(values, threshold)
    assert nodes.tolist() == [walk(row) for row in values.tolist()]
