"""Keys that contradict each other are reported when the cfg is read."""

from __future__ import annotations

import re
import warnings

import pytest

from darknet_py import cfg
from darknet_py.errors import ConfigError, UnusedOptionWarning
from darknet_py.network import Network
from darknet_py.training.trainer import Trainer

NET = "[net]\nwidth=8\nheight=8\nchannels=1\nbatch=4\n"
HEAD = "[convolutional]\nfilters={}\n[{}]\nclasses=1\n"


def read(text: str, *, strict: bool = False) -> Network:
    return Network(cfg.loads(text, "x.cfg"), strict=strict)


@pytest.mark.parametrize(
    ("keys", "message", "stops_training"),
    [
        ("policy=steps\nsteps=1,2\nscales=.1", "8: [net] scales: expected one scale for each of 2 steps, got 1", True),
        ("policy=steps\nsteps=1\nscales=1,1", "8: [net] scales: expected one scale for each of 1 steps, got 2", True),
        ("policy=steps\nscales=.1", "7: [net] scales: expected one scale for each of 0 steps, got 1", True),
        ("policy=steps\nsteps=5", "1: [net] scales: expected one scale for each of 1 steps, got 0", True),
        (
            "policy=sgdr\nsteps=1,2\nseq_scales=1",
            "8: [net] seq_scales: expected one scale for each of 2 steps, got 1",
            True,
        ),
        (
            "burn_in=9\nmax_batches=9",
            "6: [net] burn_in: 9 iterations of warm-up, but max_batches=9 ends the training before",
            False,
        ),
        ("subdivisions=3", "5: [net] batch: 4 is not a multiple of subdivisions=3: an iteration has 3 images", False),
    ],
)
def test_keys_of_net_that_contradict_each_other(keys: str, message: str, stops_training: bool) -> None:
    text = f"{NET}{keys}\n{HEAD.format(6, 'yolo')}"
    with pytest.warns(UnusedOptionWarning, match=f"^{re.escape('x.cfg:' + message)}$"):
        network = read(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        read(text, strict=True)
    if stops_training:
        with pytest.raises(ConfigError, match=f"^{re.escape('x.cfg:' + message)}$"):
            Trainer(network)
    else:
        Trainer(network)


@pytest.mark.parametrize(
    ("keys", "filters", "message"),
    [
        ("num=1\nanchors=1,2,3,4", 6, "10: [{}] num: anchors= has 2 pairs: expected num=2, got 1"),
        ("num=3\nanchors=1,2,3,4", 18, "10: [{}] num: anchors= has 2 pairs: expected num=2, got 3"),
        ("anchors=1,2,3,4", 6, "8: [{}] num: anchors= has 2 pairs: expected num=2, got 1"),
        ("num=2\nanchors=1,2,3", 12, "11: [{}] anchors: expected pairs of width and height, got 3 values"),
        (
            "num=2\nmask=3,4\nanchors=1,2,3,4,5,6",
            12,
            "10: [{}] num: mask= goes up to 4 and anchors= has 3 pairs: expected num=5, got 2",
        ),
        ("num=2\nmask=3,4", 12, "10: [{}] num: mask= goes up to 4: expected num=5, got 2"),
    ],
)
@pytest.mark.parametrize("kind", ["yolo", "region"])
def test_anchors_num_and_mask_that_contradict_each_other(kind: str, keys: str, filters: int, message: str) -> None:
    if kind == "region" and "mask" in keys:
        pytest.skip("[region] has no mask")
    text = f"{NET}{HEAD.format(filters, kind)}{keys}\n"
    with pytest.warns(UnusedOptionWarning, match=f"^{re.escape('x.cfg:' + message.format(kind))}$"):
        read(text)
    with pytest.raises(ConfigError, match=re.escape(message.format(kind))):
        read(text, strict=True)


def test_keys_that_agree_are_not_reported() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(f"{NET}policy=steps\nsteps=1,2\nscales=1,1\nburn_in=1\nmax_batches=9\n{HEAD.format(12, 'yolo')}num=2\n")


@pytest.mark.parametrize("key", ["angle=30", "aspect=2", "cutmix=1", "min_crop=9", "label_smooth_eps=.1"])
def test_keys_for_classifiers_are_reported_for_a_detector(key: str) -> None:
    name = key.partition("=")[0]
    network = read(f"{NET}{key}\n{HEAD.format(6, 'yolo')}")
    message = f"x.cfg:6: [net] {name}: is for classifiers, no effect on this network"
    assert [str(option) for option in network.ineffective_options()] == [message]
    assert not read(f"{NET}{key}\n[softmax]\n").ineffective_options()
    with pytest.raises(ConfigError, match=re.escape(message)):
        read(f"{NET}{key}\n{HEAD.format(6, 'yolo')}", strict=True)
    with pytest.warns(UnusedOptionWarning, match=re.escape(message)):
        Trainer(network)


def test_keys_for_detectors_are_reported_for_a_classifier() -> None:
    (option,) = read(f"{NET}gaussian_noise=9\n[softmax]\n").ineffective_options()
    assert str(option) == "x.cfg:6: [net] gaussian_noise: is for detectors, no effect on this network"
