"""Which layers the options of the optimizer act on, postponed updates, and gradients that add up."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from darknet_py import Trainer, TrainOptions, cfg
from darknet_py.errors import ConfigError
from darknet_py.network import Network
from tests.helpers import random_networks
from tests.helpers.random_networks import classifier_batch

NET = "[net]\nwidth=8\nheight=8\nchannels=3\nbatch=4\nmax_batches=100\nlearning_rate=0.1\nmomentum=0.9\ndecay=0.01\n"
CONV = "[conv]\nfilters=4\nsize=3\npad=1\nactivation=leaky\n"
END = "[avgpool]\n[softmax]\n"
LAYERS = {
    "convolutional": "[convolutional]\nfilters=5\nsize=3\nactivation=linear\n",
    "connected": "[connected]\noutput=5\nactivation=linear\n",
    "local": "[local]\nfilters=5\nsize=3\nactivation=linear\n",
    "rnn": "[rnn]\nhidden=4\noutput=5\nactivation=leaky\n",
    "lstm": "[lstm]\noutput=5\n",
    "gru": "[gru]\noutput=5\n",
    "crnn": "[crnn]\nhidden=4\noutput=5\nsize=3\npad=1\nactivation=leaky\n",
    "conv_lstm": "[conv_lstm]\noutput=5\nsize=3\npad=1\nactivation=linear\n",
}


def build(*sections: str, net: str = "") -> Network:
    return random_networks.network(NET + net + "".join(sections))


def record(trainer: Trainer, parameter: nn.Parameter) -> list[Tensor]:
    """The gradients of a parameter, one more after each iteration."""
    gradients: list[Tensor] = []

    def keep() -> None:
        assert parameter.grad is not None
        gradients.append(parameter.grad.clone())

    trainer.before_update = keep
    return gradients


def weight_of(network: Network, layer: int) -> nn.Parameter:
    name, parameter = next((n, p) for n, p in network[layer].named_parameters() if n.endswith("weights"))
    assert name
    return parameter


@pytest.mark.parametrize("kind", LAYERS)
def test_adam_updates_every_layer(kind: str) -> None:
    """``adam_update_gpu``: C calls it for convolutions only; other layers have SGD with momentum there."""
    network = build(LAYERS[kind], END, net="adam=1\n")
    parameter = weight_of(network, 0)
    trainer = Trainer(network)
    gradients = record(trainer, parameter)
    p = parameter.detach().clone()
    m, v = torch.zeros_like(p), torch.zeros_like(p)
    for t in (1, 2):
        trainer.step([classifier_batch(t)])
        d = -gradients[-1] - 0.01 * 4 * p
        m, v = 0.9 * m + 0.1 * d, 0.999 * v + 0.001 * d * d
        p = p + 0.1 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-6)
    torch.testing.assert_close(parameter.detach(), p, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", LAYERS)
def test_clip_limits_the_weights_of_every_layer(kind: str) -> None:
    """C: of ``[convolutional]`` and ``[implicit]`` only."""
    network = build(f"{LAYERS[kind]}clip=0.02\n", END)
    Trainer(network).step([classifier_batch()])
    for name, parameter in network[0].named_parameters():
        if name.endswith("weights"):
            assert float(parameter.detach().abs().max()) == pytest.approx(0.02), name


@pytest.mark.parametrize("kind", LAYERS)
def test_the_learning_rate_of_a_layer_acts_on_every_layer(kind: str) -> None:
    """C ignores it in [local], [rnn], [crnn], [lstm], [gru] and [conv_lstm]."""
    steps = []
    for keys in ("", "learning_rate=0.25\n"):
        network = build(LAYERS[kind] + keys, END)
        before = weight_of(network, 0).detach().clone()
        Trainer(network).step([classifier_batch()])
        steps.append(weight_of(network, 0).detach() - before)
    assert float(steps[0].abs().max()) > 0
    torch.testing.assert_close(steps[1], 0.25 * steps[0], atol=1e-6, rtol=1e-3)


def test_shared_weights_are_updated_once_by_the_sum_of_their_gradients() -> None:
    """C updates them once for each layer that uses them (``share_index``)."""
    first = "[conv]\nfilters=3\nsize=3\npad=1\nactivation=leaky\n"
    network = build(first, f"{first}share_index=0\n", CONV.replace("filters=4", "filters=5"), END)
    weights = weight_of(network, 0)
    before = weights.detach().clone()
    trainer = Trainer(network)
    gradients = record(trainer, weights)
    trainer.step([classifier_batch()])
    expected = before + 0.1 / 4 * (-gradients[0] - 0.01 * 4 * before)
    torch.testing.assert_close(weights.detach(), expected)


@pytest.mark.parametrize("size", [1, 3])
def test_gradients_are_centralised_for_every_kernel_size(size: int) -> None:
    """C's kernel centralises only where channels / groups * size * size is a multiple of 32."""
    section = f"[conv]\nfilters=5\nsize={size}\nbatch_normalize=1\nactivation=linear\ngrad_centr=1\n"
    network = build(CONV, section, END)
    weights = weight_of(network, 1)
    before = weights.detach().clone()
    trainer = Trainer(network)
    gradients = record(trainer, weights)
    trainer.step([classifier_batch()])
    centred = gradients[0] - gradients[0].mean(dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(weights.detach(), before - 0.1 / 4 * (centred + 0.01 * 4 * before))


@pytest.mark.parametrize("head", ["region", "yolo"])
def test_loss_scale_changes_no_result(head: str) -> None:
    """C multiplies the gradient of [yolo] only, but divides the learning rate whatever the head is."""
    keys = {"region": "anchors=1,1,2,2\n", "yolo": "anchors=2,2,4,4\n"}[head]
    sections = (CONV, f"[conv]\nfilters=16\nactivation=linear\n[{head}]\nclasses=3\nnum=2\n{keys}")
    boxes = [torch.tensor([[0.4, 0.4, 0.3, 0.3, 1.0], [0.7, 0.6, 0.2, 0.4, 2.0]])] * 4
    results = []
    for scale in ("2", "128"):
        network = build(*sections, net=f"loss_scale={scale}\n")
        Trainer(network, options=TrainOptions(amp="fp16")).step([(classifier_batch()[0], boxes)])
        results.append(weight_of(network, 1).detach().clone())
    before = weight_of(build(*sections), 1).detach()
    assert float((results[0] - before).norm()) > 0.01
    torch.testing.assert_close(results[1], results[0], atol=2e-4, rtol=2e-3)


def test_loss_scale_does_not_change_the_limit_of_gradients() -> None:
    """Targets of 4 give [connected] gradients beyond its limit of 1."""
    results = []
    for amp in (None, "fp16"):
        network = build(CONV, LAYERS["connected"], "[cost]\n", net="loss_scale=128\n")
        Trainer(network, options=TrainOptions(amp=amp)).step([(classifier_batch()[0], 4 * torch.eye(5)[:4])])
        results.append(weight_of(network, 1).detach().clone())
    torch.testing.assert_close(results[1], results[0], atol=1e-3, rtol=1e-2)
    assert float((results[0] - weight_of(build(CONV, LAYERS["connected"]), 1).detach()).norm()) > 0.1


WAITING = [("dont_update=2\n", 3), ("burnin_update=2\n", 4), ("dont_update=2\nburnin_update=2\n", 4)]


@pytest.mark.parametrize(("keys", "first"), WAITING)
def test_gradients_of_a_layer_that_waits_add_up_until_its_first_update(keys: str, first: int) -> None:
    """As in C's CUDA code, which neither applies nor clears them meanwhile; nothing decays until then."""
    network = build(CONV + keys, CONV.replace("filters=4", "filters=5"), END, net="burn_in=2\npower=0\n")
    weights = weight_of(network, 0)
    before = weights.detach().clone()
    trainer = Trainer(network)
    gradients = record(trainer, weights)
    for iteration in range(1, first):
        trainer.step([classifier_batch(iteration)])
        assert torch.equal(weights.detach(), before)
    trainer.step([classifier_batch(first)])
    velocity = -torch.stack(gradients).sum(dim=0) - 0.01 * 4 * before
    torch.testing.assert_close(weights.detach(), before + 0.1 / 4 * velocity)
    after = weights.detach().clone()
    trainer.step([classifier_batch(9)])
    velocity = 0.9 * velocity - gradients[-1] - 0.01 * 4 * after
    torch.testing.assert_close(weights.detach(), after + 0.1 / 4 * velocity)


@pytest.mark.parametrize("net", ["", "adam=1\n"])
def test_a_run_resumed_while_a_layer_waits_ends_with_the_same_weights(net: str) -> None:
    sections = (f"{CONV}dont_update=3\n", CONV.replace("filters=4", "filters=5"), END)
    whole = build(*sections, net=net)
    trainer = Trainer(whole)
    for iteration in range(2):
        trainer.step([classifier_batch(iteration)])
    state = trainer.state_dict()
    resumed = build(*sections, net=net)
    resumed.load_state_dict(whole.state_dict())
    other = Trainer(resumed)
    other.load_state_dict(state)
    for iteration in (2, 3, 4):
        trainer.step([classifier_batch(iteration)])
        other.step([classifier_batch(iteration)])
    for one, two in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two)


YOLO = "[conv]\nfilters=16\nactivation=linear\n[yolo]\nclasses=3\nnum=2\nanchors=2,2,4,4\n"
BOXES = [torch.tensor([[0.4, 0.4, 0.3, 0.3, 1.0]])] * 4


@pytest.mark.parametrize("gradients", ["darknet", "autograd"])
def test_a_head_with_onlyforward_has_no_cost_and_trains_nothing(gradients: str) -> None:
    head = f"{YOLO}onlyforward=1\n"
    network = build(CONV, head, "[route]\nlayers=0\n", YOLO)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    trainer = Trainer(network, gradients=gradients)
    cost = trainer.step([(classifier_batch()[0], BOXES)])
    assert trainer.layer_metrics[0][2] == {"cost": 0.0}
    assert cost == pytest.approx(trainer.layer_metrics[0][5]["cost"] / 2)  # the mean over both heads
    moved = [not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)]
    assert moved == [True, True, False, False, True, True]  # biases and weights of layers 0, 1 and 4


def test_heads_that_are_all_onlyforward_are_refused() -> None:
    with pytest.raises(ConfigError, match="onlyforward=1"):
        Trainer(Network(cfg.loads(f"{NET}{CONV}{YOLO}onlyforward=1\n")))
