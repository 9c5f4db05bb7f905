"""Models of the package's cfgs with random weights, and copies of them with one fault."""

from __future__ import annotations

import pathlib

import torch

from darknet_py import cfg, loading
from darknet_py.network import Network
from tests.helpers import random_networks

CFGS = pathlib.Path(__file__).resolve().parents[2] / "cfgs"

Files = tuple[pathlib.Path, pathlib.Path]  # cfg and weights


def lively(net: Network) -> None:
    """Random values. Variances near 100: OpenCV and pjreddie add another epsilon to them than AlexeyAB."""
    random_networks.randomise(net)
    for name, tensor in net.state_dict().items():
        if name.endswith("rolling_variance"):
            tensor.mul_(100)
        elif name.endswith("scales"):
            tensor.mul_(10)


def files(place: pathlib.Path, name: str) -> Files:
    text = (CFGS / f"{name}.cfg").read_text()
    (place / "a.cfg").write_text(text)
    net = loading.load(place / "a.cfg")
    lively(net)
    loading.save(net, place / "a.weights")
    return place / "a.cfg", place / "a.weights"


def side(pair: Files, prefix: str = "") -> str:
    return prefix + ",".join(map(str, pair))


def other_weight(pair: Files, number: int, place: pathlib.Path) -> Files:
    """A copy with one weight of layer ``number`` changed."""
    net = loading.load(*pair)
    name, tensor = list(net[number].stored())[-1]
    assert name == "weights"
    with torch.no_grad():
        tensor[1, 2].flatten()[0] += 1.0
    loading.save(net, place / "b.weights")
    return pair[0], place / "b.weights"


def other_activation(pair: Files, number: int, place: pathlib.Path, name: str = "relu") -> Files:
    """A copy of the cfg with the activation of layer ``number`` changed."""
    config = cfg.load(pair[0])
    sections = list(config.sections)
    section = sections[1 + number]
    entries = tuple(cfg.Entry(e.key, name) if e.key == "activation" else e for e in section.entries)
    assert entries != section.entries
    sections[1 + number] = cfg.Section(section.name, entries)
    (place / "b.cfg").write_text(cfg.dumps(cfg.Config(tuple(sections))))
    return place / "b.cfg", pair[1]
