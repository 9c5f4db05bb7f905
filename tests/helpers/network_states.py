"""A small detector and classifier, an image and the boxes in it, and the states that users put networks in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from darknet_py import cfg
from darknet_py.images.reading import ImageArray
from darknet_py.network import Network
from tests.helpers import random_networks

HEADER = "[net]\nwidth=32\nheight=32\nchannels=3\nbatch=2\nmax_batches=9\n"
BODY = """
[conv]
filters=8
size=3
stride=2
pad=1
batch_normalize=1
activation=leaky
[dropout]
probability=.5
[conv]
filters=8
size=1
activation=mish
[shortcut]
from=-3
"""
DETECTOR = (
    HEADER + BODY + "[conv]\nfilters=14\nactivation=linear\n[yolo]\nmask=0,1\nanchors=9,9,14,14\nclasses=2\nnum=2\n"
)
CLASSIFIER = HEADER + BODY + "[avgpool]\n[connected]\noutput=3\nactivation=linear\n[softmax]\n"


def image() -> ImageArray:
    return np.random.default_rng(3).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def boxes(results: Any) -> list[Tensor]:
    return [torch.cat((results.boxes.xywhn, results.boxes.conf[:, None], results.boxes.cls[:, None].float()), dim=1)]


def network(function: str = "") -> Network:
    """Return the network with random weights that a function needs."""
    text = CLASSIFIER if function in ("Classifier", "evaluate_accuracy") else DETECTOR
    return random_networks.randomise(Network(cfg.loads(text, "a.cfg")))


class Wrapped(nn.Module):
    """What DistributedDataParallel, FSDP and libraries for averaging do: keep the network as ``module``."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def freeze(net: Network) -> Network:
    net[0].requires_grad_(False)
    return net


def with_gradients(net: Network) -> Network:
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, 0.25)
    return net


def with_hooks(net: Network) -> Network:
    net[0].register_forward_hook(lambda *_: None)
    net.register_forward_pre_hook(lambda *_: None)
    return net


def partly_training(net: Network) -> Network:
    net[0].train()
    return net


def pruned(net: Network) -> Network:
    prune.random_unstructured(net[0], "weights", 0.5)
    prune.l1_unstructured(net[2], "weights", 0.25)
    with torch.no_grad():
        net[0].get_parameter("weights_orig").mul_(1.5)  # an update: the tensor that prune computed is old now
    return net


def spectral(net: Network) -> Network:
    torch.nn.utils.spectral_norm(net[0], "weights")
    return net.train()


def parametrised(net: Network) -> Network:
    parametrizations.weight_norm(net[0], "weights")
    parametrizations.orthogonal(net[2], "weights")
    return net


STATES: dict[str, Callable[[Network], nn.Module]] = {
    "plain": lambda net: net,
    "training": lambda net: net.train(),
    "partly training": partly_training,
    "frozen": freeze,
    "with gradients": with_gradients,
    "with hooks": with_hooks,
    "half": lambda net: net.half(),
    "bfloat16": lambda net: net.bfloat16(),
    "double": lambda net: net.double(),
    "channels_last": lambda net: net.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
    "compiled": lambda net: torch.compile(net, backend="eager"),  # type: ignore[dict-item, return-value]
    "DataParallel": lambda net: nn.DataParallel(net.train()),
    "AveragedModel": lambda net: torch.optim.swa_utils.AveragedModel(net),
    "wrapped twice": lambda net: Wrapped(torch.compile(net, backend="eager")),  # type: ignore[arg-type]
    "pruned": pruned,
    "parametrised": parametrised,
    "spectral norm": spectral,
}
COMPUTED = ("pruned", "parametrised", "spectral norm")
LOW_PRECISION = {"half": 0.05, "bfloat16": 0.3}
