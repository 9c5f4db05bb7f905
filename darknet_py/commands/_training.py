"""Shared by the verbs that train: build the network, run the trainer, print the result."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import python_process
from ..errors import DataError
from . import _darknet, _output

if TYPE_CHECKING:
    from ..network import Network
    from ..training.batches import Data
    from ..training.metrics import IterationMetrics
    from ..training.options import TrainOptions

    LinePrinter = Callable[[Network], Callable[[IterationMetrics], object]]


def train(
    cfg: str,
    data: Data,
    options: TrainOptions,
    *,
    clear: bool = False,
    gradients: str | None = None,
    values: Mapping[str, str] | None = None,
    size: tuple[int, int] | None = None,
    dialect: str | None = None,
    strict: bool = False,
    max_bytes: int | None = None,
    allow_paths: bool = False,
    line_printer: LinePrinter | None = None,
) -> int:
    """Train the network of a cfg and print the result.

    The other arguments are those of ``build_network_of_run`` and ``Trainer``.

    Args:
        line_printer: returns what prints the numbers of each iteration of a network, instead of the usual lines.
    """
    from ..training.console import IterationPrinter
    from ..training.resume import build_network_of_run
    from ..training.trainer import Trainer

    network = build_network_of_run(
        cfg,
        data,
        options,
        clear=clear,
        values=values,
        size=size,
        dialect=dialect,
        strict=strict,
        max_bytes=max_bytes,
        allow_paths=allow_paths,
    )
    callbacks = [] if line_printer is None else [IterationPrinter(line=line_printer(network))]
    trainer = Trainer(network, data, options, callbacks, clear=clear, gradients=gradients)
    result = trainer.run()
    if trainer.group.is_main:
        best = "" if result.best is None else f", best {result.score_name} {result.best:.2%}"
        ended = f"stopped early ({result.stop_reason})" if result.stopped_early else "done"
        _output.print_last(f"{ended}: iteration {result.iteration}, {result.loss:.4f} avg loss{best}; {result.weights}")
    return 0


def parse_gpus(text: str | None) -> list[int]:
    """Parse the numbers of Darknet's ``-gpus 0,1``. Raises DataError for any other text."""
    try:
        return [int(part) for part in (text or "").split(",") if part.strip()]
    except ValueError:
        raise DataError(f"-gpus: expected numbers such as 0,1, got {text!r}") from None


def launch(gpus: Sequence[int]) -> int | None:
    """Run this command line on several GPUs, in a process for each, and return the exit status.

    Returns None, and runs nothing, for fewer than two GPUs and in the processes that it has started.
    """
    if len(gpus) < 2 or "RANK" in os.environ:
        return None
    environment = {**python_process.environment(with_package=True), "CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={len(gpus)}"]
    return subprocess.run([*launcher, "-m", "darknet_py", *sys.argv[1:]], env=environment, check=False).returncode


def run_darknet_command(
    args: argparse.Namespace, data: Data, *, line_printer: LinePrinter | None = None, **options: Any
) -> int:
    """Run one of Darknet's commands: ``detector train``, ``classifier train``, ``rnn train``.

    ``options``: fields of ``TrainOptions``; ``line_printer``: see ``train``.
    """
    from ..training.options import TrainOptions

    gpus = parse_gpus(args.gpus)
    if gpus and "RANK" not in os.environ and not _darknet.has_gpus(f"-gpus {args.gpus}", gpus):
        gpus, args.i = [], -1
    if (status := launch(gpus)) is not None:
        return status
    if args.i is None and len(gpus) == 1:
        args.i = gpus[0]
    chart = args.chart or None
    device = _darknet.resolve_device(args)
    return train(
        args.cfg,
        data,
        TrainOptions(weights=args.weights, device=device, chart=chart, **options),
        clear=args.clear,
        line_printer=line_printer,
    )
