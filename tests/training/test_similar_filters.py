"""``weights_reject_freq``: when, where and how filters that resemble another are re-initialised."""

from __future__ import annotations

import torch

from darknet_py import Trainer, cfg
from darknet_py.layers import Layer
from darknet_py.network import Network

NET = """[net]
width=8
height=8
channels=3
batch=2
learning_rate=0
max_batches=8
weights_reject_freq=2
"""
CONV = "[convolutional]\nfilters=3\nactivation={}\n"
HEAD = "[convolutional]\nfilters=8\nactivation=linear\n[yolo]\nclasses=3\nnum=1\nanchors=4,4\n"


def build(similarity: float, *activations: str) -> Network:
    """Layers whose first two filters have a cosine similarity; the third is at right angles to both."""
    network = Network(cfg.loads(NET + "".join(map(CONV.format, activations)) + HEAD)).initialise()
    across = (1 - similarity**2) ** 0.5
    filters = torch.tensor([[1.0, 0, 0], [2 * similarity, 2 * across, 0], [0, 0, 3.0]])
    for layer in list(network)[: len(activations)]:
        for name, tensor in layer.stored():
            with torch.no_grad():
                tensor.copy_(filters.view_as(tensor) if name == "weights" else torch.ones_like(tensor))
    return network


def changed(layer: Layer) -> list[int]:
    """The filters that are no longer what ``build`` made them."""
    tensors = dict(layer.stored())
    sizes = tensors["weights"].detach().flatten(1).norm(dim=1)
    return [row for row, size in enumerate((1.0, 2.0, 3.0)) if abs(float(sizes[row]) - size) > 1e-4]


def train(network: Network, iteration: int) -> list[list[int]]:
    """The changed filters of each layer after the update with number ``iteration``."""
    trainer = Trainer(network)
    trainer.iteration = iteration - 1
    trainer.step([(torch.rand(2, 3, 8, 8), [torch.tensor([[0.5, 0.5, 0.5, 0.5, 1.0]])] * 2)])
    return [changed(layer) for layer in list(network)[:-2]]


LAYERS = ("leaky", "mish", "linear", "leaky", "leaky", "leaky")


def test_the_first_of_two_similar_filters_starts_again() -> None:
    """Not in layer 0, in linear layers, and in the three layers before a head."""
    torch.manual_seed(0)
    network = build(0.5, *LAYERS)
    assert train(network, 2) == [[], [0], [], [0], [], []]
    tensors = dict(network[1].stored())
    limit = (2 / 3) ** 0.5
    assert float(tensors["weights"].detach()[0].abs().max()) <= limit
    assert tensors["biases"].tolist() == [0, 1, 1]


def test_filters_below_the_limit_stay() -> None:
    assert train(build(0.39, *LAYERS), 2) == [[]] * 6
    assert train(build(0.41, *LAYERS), 2)[1] == [0]


def test_every_second_iteration_of_the_first_three_quarters() -> None:
    seen = [bool(train(build(0.9, *LAYERS), iteration)[1]) for iteration in range(1, 9)]
    assert seen == [False, True, False, True, False, False, False, False]
