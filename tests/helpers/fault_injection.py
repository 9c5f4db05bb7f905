"""Models with random weights, and copies of them with one fault."""

from __future__ import annotations

import pathlib

import torch

from darknet_py import cfg, loading
from darknet_py.network import Network
from tests.helpers import random_networks

CFGS = pathlib.Path(__file__).resolve().parents[2] / "cfgs"

Files = tuple[pathlib.Path, pathlib.Path]  # cfg and weights


def fill_random(net: Network) -> None:
    """Fill a network with random values, and variances near 100: the epsilon of batch norm differs between backends."""
    random_networks.randomise(net)
    for name, tensor in net.state_dict().items():
        if name.endswith("rolling_variance"):
            tensor.mul_(100)
        elif name.endswith("scales"):
            tensor.mul_(10)


def write_model(folder: pathlib.Path, name: str) -> Files:
    """Write a cfg of the package and random weights for it."""
    text = (CFGS / f"{name}.cfg").read_text()
    (folder / "a.cfg").write_text(text)
    net = loading.load(folder / "a.cfg")
    fill_random(net)
    loading.save(net, folder / "a.weights")
    return folder / "a.cfg", folder / "a.weights"


def argument(pair: Files, prefix: str = "") -> str:
    """Return the argument of ``compare`` for a model."""
    return prefix + ",".join(map(str, pair))


def change_weight(pair: Files, number: int, folder: pathlib.Path) -> Files:
    """Write a copy with one weight of layer ``number`` changed."""
    net = loading.load(*pair)
    name, tensor = list(net[number].stored())[-1]
    assert name == "weights"
    with torch.no_grad():
        tensor[1, 2].flatten()[0] += 1.0
    loading.save(net, folder / "b.weights")
    return pair[0], folder / "b.weights"


def change_activation(pair: Files, number: int, folder: pathlib.Path, name: str = "relu") -> Files:
    """Write a copy of the cfg with another activation in layer ``number``."""
    config = cfg.load(pair[0])
    sections = list(config.sections)
    section = sections[1 + number]
    entries = tuple(cfg.Entry(e.key, name) if e.key == "activation" else e for e in section.entries)
    assert entries != section.entries
    sections[1 + number] = cfg.Section(section.name, entries)
    (folder / "b.cfg").write_text(cfg.dumps(cfg.Config(tuple(sections))))
    return folder / "b.cfg", pair[1]
