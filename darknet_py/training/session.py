"""``Session``: what a run reads and writes: batches, evaluations, files, log."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import schedule
from .._typing import StrPath
from ..distributed import ProcessGroup
from ..layers import Gradients
from ..network import Network
from .batches import Data, create_batches, data_file_entries, integer_entry
from .callbacks import Callback, CallbackList
from .checkpoints import CheckpointWriter
from .console import Console, IterationPrinter
from .loader import Batches
from .loggers.loss_chart import LossChart
from .loggers.selection import create_loggers
from .metrics import Throughput
from .options import TrainOptions
from .recipe import create_recipe, describe_changes, format_changes, write_beside_weights
from .resume import Start, output_folder, run_name
from .validation import Metric, create_metric

_LONG_RUN = 10000  # max_batches from which numbered files are that many iterations apart; below, a tenth of it
_SAVE_LAST = 100  # iterations between _last files
_MIN_MAP_EVERY = 100  # iterations between evaluations


@dataclass
class Session:
    """A run in progress.

    Attributes:
        batches: What it trains on.
        metric: What it is evaluated by; None for nothing.
        map_every: Iterations between evaluations.
        writer: Writes weights and state.
        console: Prints messages.
        callbacks: Those of the run, in the main process; none in others.
        score_name: What scores are, such as "mAP".
        throughput: Speed since the start.
        saved_at: Time of the last state, in seconds.
        recipe: What was given for it; for its state file.
    """

    batches: Batches
    metric: Metric | None
    map_every: int
    writer: CheckpointWriter
    console: Console
    callbacks: CallbackList
    score_name: str
    throughput: Throughput
    saved_at: float
    recipe: Mapping[str, Any]


def open_session(
    network: Network,
    data: Data | None,
    options: TrainOptions,
    group: ProcessGroup,
    start: Start,
    *,
    gradients: Gradients,
    iteration: int,
    seed: int,
    callbacks: Sequence[Callback] = (),
) -> Session:
    """Open the data and the files of a run, and report what it starts from.

    Args:
        network: The network, with the weights the run starts from.
        data: What it trains on.
        options: How.
        group: The processes that train together.
        start: What the network was filled with.
        gradients: How gradients are computed.
        iteration: Updates made before.
        seed: Seed of everything random in the batches.
        callbacks: Those that the caller of the run gives.

    Raises:
        DarknetError: The data is invalid, or the files cannot be written.
    """
    batches, images, names = create_batches(network, data, options, group, seed=seed)
    batches.iteration = iteration
    recipe = create_recipe(network, data, options, gradients=gradients, seed=seed, images=images)
    metric = None if data is None else create_metric(network, data, options, group)
    epoch = images / schedule.images_per_iteration(network.options)
    map_every = options.map_every or max(_MIN_MAP_EVERY, int(options.map_epochs * epoch))
    entries = data_file_entries(data)
    folder = output_folder(data, options)
    writer = _create_writer(network, options, folder, entries)
    if start.state is None and group.is_main:
        writer.set_aside_state()
    console = Console(options.verbose and group.is_main)
    all_callbacks = _create_callbacks(network, options, callbacks, console)
    score_name = "mAP" if network.heads else f"top-{integer_entry(entries, 'top', 1)}"
    changes: list[str] = []
    if start.state is not None:
        changes = list(describe_changes(start.state.recipe, recipe, start.state.cfg, network.config))
    console.message(start.message + format_changes(changes))
    if group.is_main:
        write_beside_weights(folder, writer.name, network, names, recipe)
    if start.state is None and writer.backup.exists():
        console.message(
            f"{writer.backup} is the state of an earlier run until this one writes its own; "
            f"to continue that run, rename it to {writer.state.name} and use --resume"
        )
    console.message(f"{_describe(network, images, iteration)}; files in {folder}")
    if network.heads and (note := schedule.length_note(network.options, images, network.heads[-1].classes)):
        console.message(note)
    return Session(
        batches=batches,
        metric=metric,
        map_every=map_every,
        writer=writer,
        console=console,
        callbacks=CallbackList(all_callbacks if group.is_main else ()),
        score_name=score_name,
        throughput=Throughput(),
        saved_at=time.monotonic(),
        recipe=recipe,
    )


def _create_callbacks(
    network: Network, options: TrainOptions, given: Sequence[Callback], console: Console
) -> list[Callback]:
    """What prints, logs and draws, before what the caller gives. All processes raise if a package is missing."""
    callbacks: list[Callback] = []
    if options.verbose and not any(isinstance(callback, IterationPrinter) for callback in given):
        callbacks.append(IterationPrinter(console))
    callbacks += create_loggers(options.log)
    if options.chart is None or os.fspath(options.chart):
        max_loss = network.options.max_chart_loss
        callbacks.append(LossChart(options.chart, max_loss=max_loss, message=console.message))
    return [*callbacks, *given]


def _create_writer(
    network: Network, options: TrainOptions, folder: StrPath, entries: Mapping[str, str]
) -> CheckpointWriter:
    numbered = _LONG_RUN if network.options.max_batches >= _LONG_RUN else _LONG_RUN // 10
    return CheckpointWriter(
        folder,
        run_name(network.config.path, options),
        every=options.save_every or integer_entry(entries, "saveweights", numbered),
        last=options.save_last or integer_entry(entries, "savelast", _SAVE_LAST),
    )


def _describe(network: Network, images: int, iteration: int) -> str:
    """What a run is about to do, in a line. ``images``: of the data set; 0 if unknown."""
    net, shape = network.options, network.shape
    data = f"{images:,} images; " if images else ""
    end = f" to {net.max_batches:,}" if net.max_batches else ", without end"
    unit = f"images of {shape.width} x {shape.height}" if net.width else "inputs"
    parts = f" in {net.subdivisions} mini-batches" if net.subdivisions > 1 else ""
    per_iteration = f"{schedule.images_per_iteration(net)} {unit}{parts} per iteration"
    return f"{data}iterations {iteration + 1:,}{end}; {per_iteration}; on {next(network.parameters()).device}"
