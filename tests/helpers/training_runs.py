"""Run trainings for tests: ``darknet-py train`` in a subprocess, or ``Trainer.run`` in this process."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from darknet_py.network import Network
from darknet_py.training import checkpoints, resume
from darknet_py.training.callbacks import Callback, StepEvent
from darknet_py.training.options import TrainOptions
from darknet_py.training.trainer import Trainer, TrainResult
from tests.helpers import paths

PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def environment() -> dict[str, str]:
    """The environment of a subprocess, which imports this checkout and uses one thread."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return {**inherited, "PYTHONPATH": str(paths.ROOT), "OMP_NUM_THREADS": "1"}


def begin(*arguments: str | os.PathLike[str], launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start ``darknet-py train ...`` in a subprocess."""
    line = [sys.executable, *launcher, "-m", "darknet_py", "train", *(os.fspath(argument) for argument in arguments)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


def command(*arguments: str | os.PathLike[str], launcher: tuple[str, ...] = (), expected: int = 0) -> tuple[str, str]:
    """Run ``darknet-py train ...`` in a subprocess and return what it wrote to stdout and stderr."""
    process = begin(*arguments, launcher=launcher)
    out, err = process.communicate(timeout=600)
    assert process.returncode == expected, err
    return out, err


def wait_for(path: pathlib.Path, seconds: float = 120) -> None:
    """Wait until a file exists."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"no {path.name}"
        time.sleep(0.02)


def run(
    cfg: pathlib.Path, data: Any, *, seed: int = 3, values: dict[str, str] | None = None, **options: Any
) -> Network:
    """Train in this process, from random weights, and return the network; ``options``: see ``train``."""
    return train(cfg, data, seed=seed, values=values, **options)[0]


def train(
    cfg: pathlib.Path,
    data: Any,
    *,
    seed: int = 3,
    values: dict[str, str] | None = None,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> tuple[Network, TrainResult]:
    """Train quietly in this process, by default without chart and mAP; ``options``: those of ``TrainOptions``."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network = resume.build_network(cfg, seed=seed, values=values)
        quiet: dict[str, Any] = {"verbose": False, "workers": 0, "chart": "", "validate": False}
        result = Trainer(network, data, TrainOptions(seed=seed, **quiet | options), callbacks).run()
    finally:
        torch.set_num_threads(threads)
    return network, result


def at_each_step(call: Callable[[StepEvent], object]) -> list[Callback]:
    """Callbacks that call a function after each iteration."""

    class Call(Callback):
        def on_step(self, event: StepEvent) -> None:
            call(event)

    return [Call()]


def tensors(path: pathlib.Path) -> dict[str, Tensor]:
    """The weights in a state file."""
    return dict(checkpoints.read_state(path).network)


def tensors_at_start(cfg: pathlib.Path, seed: int = 0) -> dict[str, Tensor]:
    """The random weights that a training begins with."""
    return dict(resume.build_network(cfg, seed=seed).state_dict())
