"""The memory that a network needs is that of its tensors."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darknet_py import cli, loading
from darknet_py._memory_plan import activation_memory, parameter_memory
from darknet_py.network import Network
from tests.helpers import paths


@pytest.fixture(scope="module")
def network() -> Network:
    return loading.load(paths.ROOT / "cfgs" / "digits.cfg")


def test_activations_are_the_outputs_that_are_alive(network: Network) -> None:
    outputs: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def record(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        outputs.append(weakref.ref(output))
        alive.append(sum(x.nbytes for reference in outputs if (x := reference()) is not None))

    hooks = [layer.register_forward_hook(record) for layer in network]
    x = torch.zeros(1, *network.shape)
    outputs.append(weakref.ref(x))
    given = [x]
    del x
    with torch.inference_mode():
        network(given.pop())
    for hook in hooks:
        hook.remove()
    assert activation_memory(list(network), network.sources, network.shape, network.outputs) == max(alive)


def test_workspaces_are_added(network: Network) -> None:
    def peak(workspaces: bool) -> int:
        outputs = network.outputs
        return activation_memory(list(network), network.sources, network.shape, outputs, workspaces=workspaces)

    assert peak(workspaces=True) >= peak(workspaces=False)


def test_info_prints_both(network: Network, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", "digits"]) == 0
    weights = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    assert sum(map(parameter_memory, network)) == weights
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"memory in float32: weights {weights / 1e6:.1f} MB, activations of an image at most 0.3 MB"
