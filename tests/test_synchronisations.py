"""How often a device is waited for: counted on the simulated one, as each wait stalls a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from darknet_py import Detector, Trainer
from darknet_py.layers import StepContext, pad_targets
from darknet_py.network import Network
from tests.helpers import export_networks, network_states, random_networks, simulated_device
from tests.helpers.simulated_device import Simulation

CONV = "[conv]\nfilters=14\nactivation=linear\n"
YOLO = CONV + "[yolo]\nmask=0,1\nanchors=9,9,14,14\nclasses=2\nnum=2\n"
HEADS = {
    "yolo": YOLO,
    "yolo_ciou": YOLO + "iou_loss=ciou\niou_thresh=0.2\nscale_x_y=1.05\n",
    "gaussian": CONV.replace("14", "11") + "[Gaussian_yolo]\nmask=0\nanchors=9,9\nclasses=2\nnum=1\n",
    "region": CONV + "[region]\nanchors=1,1,2,2\nclasses=2\nnum=2\ncoords=4\nsoftmax=1\n",
    "detection": "[connected]\noutput=108\n[detection]\nclasses=2\nside=3\nnum=2\ncoords=4\nsqrt=1\n",
}
BODY = "[conv]\nfilters=8\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n[dropout]\n"


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    with simulated_device.simulated() as simulation:
        yield simulation


def network(head: str) -> Network:
    return random_networks.network(network_states.HEADER.replace("max_batches=9", "subdivisions=2") + BODY + head)


def targets() -> list[Tensor]:
    return [torch.tensor([[0.5, 0.5, 0.3, 0.4, 1], [0.2, 0.3, 0.2, 0.2, 0]]), torch.tensor([[0.25, 0.5, 0.3, 0.4, 1]])]


@pytest.mark.parametrize("head", HEADS)
def test_training_waits_once_in_an_iteration(head: str, simulation: Simulation) -> None:
    net = network(HEADS[head])
    simulated_device.to_device(net)
    trainer = Trainer(net)
    pairs = [(random_networks.random(2, 3, 32, 32, low=0), targets())] * 2
    trainer.step(pairs)
    with simulation.counting():
        trainer.step(pairs)
    assert simulation.synchronisations == {"tolist": 1}
    assert simulation.uploads == 0


def test_the_loss_of_a_yolo_head_needs_few_operators(simulation: Simulation) -> None:
    net = network(HEADS["yolo_ciou"])
    x = random_networks.random(2, 14, 16, 16).to("sim")
    context = StepContext(size=(32, 32))
    output = net.heads[0](x)
    with simulation.counting():
        net.heads[0].loss(x, output, pad_targets(targets()), context)
    assert simulation.operators <= 300


@pytest.mark.parametrize("batch", [1, 3])
def test_detection_waits_once_in_a_batch(batch: int, simulation: Simulation) -> None:
    net = export_networks.detector()
    simulated_device.to_device(net)
    detector = Detector(net, batch=batch)
    images = [network_states.image()] * batch
    detector(images)
    with simulation.counting():
        results = detector(images)
    assert all(len(result.boxes) > 5 for result in results)
    assert simulation.synchronisations.total() == 1
    assert simulation.uploads == 0
