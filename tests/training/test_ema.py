"""``ema_alpha``: the moving average of the parameters, from half of ``max_batches`` to the last 1000 iterations."""

from __future__ import annotations

import pathlib

import torch
from torch import Tensor

from darknet_py import Trainer, cfg, loading
from darknet_py.network import Network
from tests.helpers import synthetic_data, training_runs

CFG = """[net]
width=8
height=8
channels=3
batch=4
learning_rate=0.1
max_batches=2008
ema_alpha=0.75
[convolutional]
filters=5
size=3
pad=1
batch_normalize=1
activation=leaky
[avgpool]
[softmax]
"""


def parameters(network: Network) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def averages(trainer: Trainer) -> list[Tensor]:
    assert trainer.ema.tensors is not None
    return [tensor.clone() for tensor in trainer.ema.tensors]


def close(actual: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_the_average_moves_by_one_minus_alpha_and_replaces_the_weights_at_last() -> None:
    torch.manual_seed(0)
    network = Network(cfg.loads(CFG)).initialise()
    trainer = Trainer(network)
    trainer.iteration = 1002  # the first average is made after update 1004, half of max_batches

    def step() -> None:
        trainer.step([(torch.rand(4, 3, 8, 8), torch.eye(5)[:4])])

    step()
    assert trainer.ema.tensors is None
    step()
    average = parameters(network)
    close(averages(trainer), average)
    for _ in range(3):
        step()
        average = [0.75 * old + 0.25 * new for old, new in zip(average, parameters(network), strict=True)]
        close(averages(trainer), average)
        assert not torch.allclose(average[0], parameters(network)[0])
    step()  # update 1008 = max_batches - 1000
    close(parameters(network), average)
    step()
    close(averages(trainer), average)  # no longer moves
    assert not torch.allclose(average[0], parameters(network)[0])


def test_without_ema_alpha_there_is_no_average() -> None:
    network = Network(cfg.loads(CFG.replace("ema_alpha=0.75\n", ""))).initialise()
    trainer = Trainer(network)
    trainer.iteration = 1003
    trainer.step([(torch.rand(4, 3, 8, 8), torch.eye(5)[:4])])
    assert trainer.ema.tensors is None


def test_the_averaged_parameters_are_saved_and_training_continues_from_its_own(
    tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    """With max_batches=6 the average stays what the parameters were after update 3."""
    path = synthetic_data.cfg(tmp_path, max_batches=6, ema_alpha=0.9, burn_in=0)
    network = training_runs.run(path, rectangles / "tiny.data", output=tmp_path / "out", save_every=3, save_last=2)
    at_three, ema, final, last = (
        loading.load(path, tmp_path / "out" / f"tiny_{name}.weights") for name in ("3", "ema", "final", "last")
    )
    for name, parameter in ema.named_parameters():
        assert torch.equal(parameter, at_three.get_parameter(name)), name
        assert torch.equal(last.get_parameter(name), network.get_parameter(name)), name
    for name, buffer in ema.named_buffers():
        assert torch.equal(buffer, final.get_buffer(name)), name
    assert not torch.equal(final.get_parameter("layers.3.weights"), ema.get_parameter("layers.3.weights"))
