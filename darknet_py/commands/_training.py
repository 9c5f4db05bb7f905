"""What verbs that train share: from arguments to a running training."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..cfg import Dialect
from ..errors import ConfigError, DataError
from . import _darknet

if TYPE_CHECKING:
    import pathlib

    import torch

    from ..network import Network
    from ..training.distributed import ProcessGroup
    from ..training.trainer import Data

_AMP = {"bf16": "bfloat16", "fp16": "float16"}


@dataclass(kw_only=True)
class Order:
    """What shall be trained, and how.

    ``data``: see ``Trainer``, or what makes it of the network, the process and its team. ``out``, ``name``: of
    the files. ``resume``: go on where the state in ``out`` stands, if there is one. ``trainer`` and ``run``:
    arguments of ``Trainer`` and ``Trainer.run``.
    """

    data: Data | Callable[[Network, ProcessGroup], Data]
    cfg: str
    weights: str | None = None
    out: str | None = None
    resume: bool = False
    clear: bool = False
    upto: int | None = None
    seed: int = 0
    device: str = "auto"
    dialect: str = Dialect.ALEXEYAB
    size: tuple[int, int] | None = None
    strict: bool = False
    values: Mapping[str, str] = field(default_factory=dict)
    amp: str | None = None
    synchronised: bool = False
    deterministic: bool = False
    quiet: bool = False
    trainer: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)


def train(order: Order) -> int:
    """Train, and print where the weights are."""
    import torch

    from ..training import resume
    from ..training.distributed import ProcessGroup
    from ..training.trainer import Trainer

    team = ProcessGroup.join(synchronised=order.synchronised)
    if order.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    network = resume.build(
        _cfg(order.cfg),
        values=order.values,
        size=order.size,
        dialect=order.dialect,
        strict=order.strict,
        seed=order.seed,
    )
    _check(network)
    state, told = _first(order, network)
    if team.writes and not order.quiet:
        print(f"darknet-py: {told}", file=sys.stderr, flush=True)
    network.to(_device(order.device, team))
    if order.run.get("channels_last"):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    data = order.data(network, team) if callable(order.data) else order.data
    amp = getattr(torch, _AMP[order.amp]) if order.amp else None
    trainer = Trainer(network, data, clear=order.clear, seed=order.seed, amp=amp, team=team, **order.trainer)
    outcome = trainer.run(out=order.out, resume=state, progress=not order.quiet, **order.run)
    if team.writes:
        best = "" if outcome.best is None else f", best {outcome.measured} {outcome.best:.2%}"
        ended = "stopped early" if outcome.early else "done"
        print(f"{ended}: iteration {outcome.iteration}, {outcome.loss:.4f} avg loss{best}; {outcome.weights}")
    team.leave()
    return 0


def _check(network: Network) -> None:
    """A detector's cfg that stands as it is used for detecting trains badly, and takes days to show it."""
    if network.heads and network.options.batch * network.options.time_steps < 2:
        raise ConfigError(
            f"{network.config.path}: [net] batch=1 is for detecting. For training: batch=64 and subdivisions=16, or "
            "more of them where memory is short (--set batch=64 --set subdivisions=16)"
        )


def _first(order: Order, network: Network) -> tuple[pathlib.Path | None, str]:
    """What the training starts from: the state to go on from, where there is one, and what it is in words."""
    from ..training import resume

    if order.resume and not order.clear:
        from ..training import checkpoints

        found = checkpoints.CheckpointWriter(_out(order), checkpoints.base(order.cfg)).state
        if found.is_file():
            return found, f"goes on from {found}"
        if order.weights is None:
            return None, f"no {found} to go on from: starts with random weights"
    if order.weights is None:
        return None, "starts with random weights"
    path = _weights(order.weights)
    if not order.clear and (state := resume.state_of(path)):
        return state, f"goes on from {state}, which lies beside {path}"
    told = resume.fill(network, path, order.upto)
    if order.clear:
        network.seen = 0
    resume.left(network, path)
    iteration = network.seen // max(1, network.options.batch)
    warm = f"; a warm start at iteration {iteration}: momentum begins at 0" if network.seen else ""
    return None, f"starts from {told}{warm}"


def _out(order: Order) -> str:
    from ..data import data_file

    if order.out is not None:
        return order.out
    is_file = isinstance(order.data, str | os.PathLike) and os.fspath(order.data).endswith(".data")
    entries = data_file.read_data_file(os.fspath(order.data)).values if is_file else {}  # type: ignore[arg-type]
    return entries.get("backup", "backup")


def _cfg(name: str) -> pathlib.Path | str:
    from ..hub import model_files

    return model_files.find(name, "none needed").cfg  # type: ignore[return-value]


def _weights(name: str) -> str:
    from ..hub import catalogue

    if not os.path.exists(name) and name in catalogue.entries():
        return os.fspath(catalogue.fetch(name))
    return name


def _device(name: str, team: ProcessGroup) -> torch.device:
    import torch

    from . import _model

    device = torch.device(_model.resolve_device(name))
    if device.type == "cuda" and team.world > 1:
        return torch.device("cuda", team.local % torch.cuda.device_count())
    return device


def gpus(text: str | None) -> list[int]:
    """The numbers of Darknet's ``-gpus 0,1``. Raises DataError for another text."""
    try:
        return [int(part) for part in (text or "").split(",") if part.strip()]
    except ValueError:
        raise DataError(f"-gpus: expected numbers such as 0,1, got {text!r}") from None


def spread(numbers: Sequence[int]) -> int | None:
    """Run this command line on several GPUs, a process each; None where it is one of these processes already."""
    if len(numbers) < 2 or "RANK" in os.environ:
        return None
    shown = {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(map(str, numbers))}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={len(numbers)}"]
    return subprocess.run([*launcher, "-m", "darknet_py", *sys.argv[1:]], env=shown, check=False).returncode


def darknet(args: argparse.Namespace, data: Any, **run: Any) -> int:
    """A line of Darknet's: ``detector train``, ``classifier train``, ``rnn train``."""
    numbers = gpus(args.gpus)
    if (status := spread(numbers)) is not None:
        return status
    if args.i is None and len(numbers) == 1:
        args.i = numbers[0]
    how: dict[str, Any] = run | ({"chart": args.chart} if args.chart else {})
    order = Order(
        data=data, cfg=args.cfg, weights=args.weights, clear=args.clear, device=_darknet.resolve_device(args), run=how
    )
    return train(order)


def darknet_options(parser: argparse.ArgumentParser) -> None:
    """Flags that Darknet's lines for training have in common."""
    group = parser.add_argument_group("train")
    group.add_argument("-clear", action="store_true", help="count iterations from 0")
    group.add_argument("-gpus", metavar="LIST", help="numbers of GPUs that share every batch: 0,1")
    group.add_argument("-chart", metavar="FILE", help="where the chart is drawn (chart_NAME.png)")
