"""Two processes train as one does: same images, same steps."""

from __future__ import annotations

import os
import pathlib
import socket
from typing import Any

import pytest
import torch
from torch.multiprocessing.spawn import spawn

from darknet_py.cfg import loads
from darknet_py.distributed import ProcessGroup
from darknet_py.errors import ConfigError, DataError
from darknet_py.layers._sync_norm import sync_batch_norm
from darknet_py.network import Network
from darknet_py.training import checkpoints, resume
from darknet_py.training.options import TrainOptions
from darknet_py.training.trainer import Trainer
from tests.helpers import synthetic_data, training_runs

ADAM: dict[str, Any] = {"adam": 1, "learning_rate": 0.0003, "burn_in": 0}
CASES: dict[str, tuple[int, dict[str, Any], tuple[str, ...]]] = {
    "norm": (1, {}, ("--sync-bn",)),
    "norm across mini-batches": (2, {}, ("--sync-bn",)),
    "no norm, adam": (0, ADAM, ()),
    "recomputed": (1, {}, ("--sync-bn", "--gradient-checkpointing")),
}


@pytest.mark.parametrize(
    "case", ["norm", *(pytest.param(case, marks=pytest.mark.slow) for case in CASES if case != "norm")]
)
def test_two_processes_make_the_steps_of_one(case: str, tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    norm, keys, flags = CASES[case]
    cfg = synthetic_data.cfg(tmp_path, max_batches=20, norm=norm, **{"learning_rate": 0.003, **keys})
    words: tuple[str | os.PathLike[str], ...] = (rectangles / "tiny.data", cfg, "--workers", "1", "--chart", "")
    words = (*words, "--device", "cpu", "--map-every", "20", *flags)
    one, _ = training_runs.command(*words, "--output", tmp_path / "one")
    two, _ = training_runs.command(*words, "--output", tmp_path / "two", launcher=training_runs.PROCESSES)
    assert two.count("done: iteration 20") == 1
    first, second = (training_runs.tensors(tmp_path / part / "tiny_last.state.pt") for part in ("one", "two"))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, atol=1e-5, rtol=1e-5, msg=name)
    moved = (first["layers.3.weights"] - training_runs.tensors_at_start(cfg)["layers.3.weights"]).abs().max()
    assert moved > 1e-3
    best = [text.split("best")[1].partition(";")[0] for text in (one, two)]
    assert best[0] == best[1]  # the mAP, counted in two parts
    assert (tmp_path / "two" / "tiny_log.csv").read_text().count("\n") == 21


@pytest.mark.slow
def test_two_processes_resume_from_their_state(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=8)
    words = (rectangles / "tiny.data", cfg, "--workers", "1", "--chart", "", "--device", "cpu", "--no-map")
    training_runs.command(*words, "--output", tmp_path / "whole", launcher=training_runs.PROCESSES)
    text = cfg.read_text()
    cfg.write_text(text.replace("max_batches=8", "max_batches=4"))
    training_runs.command(*words, "--output", tmp_path / "parts", launcher=training_runs.PROCESSES)
    cfg.write_text(text)
    _, err = training_runs.command(*words, "--output", tmp_path / "parts", "--resume", launcher=training_runs.PROCESSES)
    assert err.count("resuming from") == 1
    first, second = (training_runs.tensors(tmp_path / part / "tiny_last.state.pt") for part in ("whole", "parts"))
    for name, tensor in first.items():
        if "rolling" not in name:  # made the same in all processes when they are saved, which moves later ones
            assert torch.equal(tensor, second[name]), name


@pytest.mark.slow
def test_a_run_can_be_resumed_by_another_number_of_processes(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=4, norm=1)
    words = (rectangles / "tiny.data", cfg, "--workers", "1", "--device", "cpu", "--output")
    given = ("--no-map", "--chart", "", "--sync-bn", "--freeze", "1")
    training_runs.command(*words, tmp_path / "whole", *given)
    for out, first, second in (("more", (), training_runs.PROCESSES), ("fewer", training_runs.PROCESSES, ())):
        training_runs.command(*words, tmp_path / out, *given, "--set", "max_batches=2", launcher=first)
        _, err = training_runs.command(*words, tmp_path / out, "--resume", "--set", "max_batches=4", launcher=second)
        assert err.count("at iteration 2; changed: [net] max_batches 2 -> 4\n") == 1
        state = checkpoints.read_state(tmp_path / out / "tiny_last.state.pt")
        assert (state.recipe["sync_bn"], state.recipe["freeze"]) == (True, 1)
        for name, tensor in training_runs.tensors(tmp_path / "whole" / "tiny_last.state.pt").items():
            torch.testing.assert_close(state.network[name], tensor, atol=1e-5, rtol=1e-5, msg=f"{out} {name}")


def test_a_mini_batch_that_cannot_be_shared_is_refused(tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    cfg = synthetic_data.cfg(tmp_path, max_batches=8, batch=6)
    options = TrainOptions(process_group=ProcessGroup(0, 2), output=tmp_path, verbose=False)
    trainer = Trainer(resume.build_network(cfg), rectangles / "tiny.data", options)
    with pytest.raises(ConfigError, match=r"batch / subdivisions = 3, which 2 processes cannot share evenly"):
        trainer.run()


def test_shards_cover_everything_once() -> None:
    items = list(range(11))
    for world_size in (1, 2, 3, 12):
        shards = [ProcessGroup(rank, world_size).shard(items) for rank in range(world_size)]
        assert [item for shard in shards for item in shard] == items


def test_synchronised_batch_norm_of_one_process_is_torchs() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 5, 4, 2, dtype=torch.float64).float().requires_grad_()
    scales, biases = torch.rand(5, requires_grad=True), torch.rand(5, requires_grad=True)
    mean, variance = torch.zeros(5), torch.ones(5)
    y = sync_batch_norm(x, scales, biases, (mean, variance), 0.01, 1e-5, lambda total: total)
    means, variances = torch.zeros(5), torch.ones(5)
    reference = torch.nn.functional.batch_norm(x, means, variances, scales, biases, True, 0.01, 1e-5)
    torch.testing.assert_close(y, reference)
    torch.testing.assert_close((mean, variance), (means, variances))
    weights = torch.randn_like(y)
    for got, expected in zip(
        torch.autograd.grad((y * weights).sum(), (x, scales, biases)),
        torch.autograd.grad((reference * weights).sum(), (x, scales, biases)),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


# A branch that no loss reads, so without a gradient; and from the third iteration on a layer that is not trained.
BRANCHED = """
[net]
width=8
height=8
channels=3
batch=8
subdivisions=2
max_batches=10
learning_rate=.01
[convolutional]
filters=4
size=3
pad=1
activation=leaky
[convolutional]
filters=6
size=3
pad=1
activation=leaky
[convolutional]
filters=3
size=1
[route]
layers=1
[avgpool]
[connected]
output=5
activation=linear
[softmax]
"""


def _train_branched(network: Network, group: ProcessGroup) -> None:
    """Five iterations of two mini-batches, each shared by the processes; layer 0 is frozen after the third."""
    generator = torch.Generator().manual_seed(1)
    trainer = Trainer(network, options=TrainOptions(process_group=group))
    for iteration in range(5):
        if iteration == 3:
            network[0].requires_grad_(False)
        images = torch.rand(2, 4, 3, 8, 8, generator=generator)
        targets = torch.eye(5)[torch.randint(5, (2, 4), generator=generator)]
        share = slice(4 // group.world_size * group.rank, 4 // group.world_size * (group.rank + 1))
        trainer.step([(x[share], y[share]) for x, y in zip(images, targets, strict=True)])


def _train_branched_process(rank: int, port: int, folder: str) -> None:
    sums: list[int] = []
    all_reduce = torch.distributed.all_reduce

    def counted(tensor: torch.Tensor, **options: Any) -> Any:
        sums.append(tensor.numel())
        return all_reduce(tensor, **options)

    torch.distributed.all_reduce = counted  # type: ignore[assignment]
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    network = Network(loads(BRANCHED))
    network.load_state_dict(torch.load(f"{folder}/start.pt"))
    _train_branched(network, ProcessGroup(rank, 2))
    torch.save((network.state_dict(), sums), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_gradients_are_summed_once_per_iteration(tmp_path: pathlib.Path) -> None:
    network = Network(loads(BRANCHED)).initialise()
    torch.save(network.state_dict(), tmp_path / "start.pt")
    spawn(_train_branched_process, (_free_port(), str(tmp_path)), nprocs=2)
    _train_branched(network, ProcessGroup())
    weights = network.state_dict()
    sizes = [p.numel() for index in (0, 1, 2, 5) for p in network[index].parameters()]
    for rank in range(2):
        state, sums = torch.load(tmp_path / f"{rank}.pt")
        for name, tensor in weights.items():
            torch.testing.assert_close(state[name], tensor, atol=1e-6, rtol=1e-5, msg=name)
        assert sums == [1 + sum(sizes)] * 3 + [1 + sum(sizes[2:])] * 2  # DataParallel has a parameter of its own
    assert not torch.equal(weights["layers.0.weights"], torch.load(tmp_path / "start.pt")["layers.0.weights"])


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _load_once(rank: int, port: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    group = ProcessGroup(rank, 2)

    def load() -> list[int]:
        pathlib.Path(folder, f"called_{rank}").touch()
        return [1, 2]

    def fail() -> int:
        raise DataError("a.txt:3: wrong")

    assert group.compute_once(load) == [1, 2]
    with pytest.raises(DataError, match=r"a\.txt:3: wrong"):
        group.compute_once(fail)
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_only_the_main_process_reads_the_labels(tmp_path: pathlib.Path) -> None:
    spawn(_load_once, (_free_port(), str(tmp_path)), nprocs=2)
    assert [path.name for path in tmp_path.iterdir()] == ["called_0"]
