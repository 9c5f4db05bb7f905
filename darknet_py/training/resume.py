"""What a training run starts from: random weights, the weights of a file, or the state of an earlier run."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from .. import cfg as cfg_
from .. import schedule, weights
from .._typing import StrPath
from ..cfg import Config, Dialect, schema
from ..cfg.editing import replace_values
from ..cfg.net_section import Net
from ..distributed import is_restart
from ..errors import ConfigError, WeightsError, did_you_mean
from ..hub import catalogue, model_files
from ..network import Network
from ..weights import checkpoint
from ..weights.containers import is_container
from .batches import Data, data_file_entries, read_class_names
from .checkpoints import CheckpointWriter, TrainingState, checkpoint_name, read_state, state_path
from .options import TrainOptions
from .transfer import transfer_weights


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Attributes:
        message: A description of it for the log.
        path: The state file that is resumed; None if there is none.
        state: Its content.
    """

    message: str
    path: pathlib.Path | None = None
    state: TrainingState | None = None


def parse_settings(pairs: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` texts as a dict. Raises ConfigError if one has another form, or KEY is not an option of [net]."""
    known = schema.keys(Net)
    settings: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise ConfigError(f"expected KEY=VALUE of [net], such as max_batches=6000, got {pair!r}")
        key = key.strip()
        if key not in known:
            raise ConfigError(f"{pair!r}: [net] has no option {key!r}{did_you_mean(key, known)}")
        settings[key] = value.strip()
    return settings


def build_network(
    cfg: StrPath | Config,
    *,
    values: Mapping[str, str] | None = None,
    size: tuple[int, int] | None = None,
    dialect: Dialect | str = Dialect.ALEXEYAB,
    strict: bool = False,
    seed: int = 0,
    max_bytes: int | None = None,
    allow_paths: bool = False,
) -> Network:
    """Build a network with Darknet's random initial weights.

    Args:
        cfg: The cfg file, a name of the catalogue, or a parsed cfg.
        values: Options of [net] to change; they become part of the network's cfg text.
        size: Width and height of the input instead of the cfg's.
        dialect: Fork of Darknet to follow where the forks differ.
        strict: Whether text of the cfg that has no effect is an error.
        seed: Seed of the initial weights.
        max_bytes: Memory that the network may need, see ``Network``.
        allow_paths: Let the cfg name files outside of its surroundings, see ``cfg.load``; not for a parsed cfg.

    Raises:
        ConfigError: The cfg cannot be read or is invalid.
    """
    config = cfg if isinstance(cfg, Config) else cfg_.load(model_files.find_cfg(cfg), allow_paths=allow_paths)
    if values:
        changed = cfg_.loads(replace_values(config, {0: values}), config.path, allow_paths=config.allow_paths)
        config = replace(changed, overrides=dict(values))
    network = Network(config, size=size, dialect=dialect, strict=strict, max_bytes=max_bytes)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return network.initialise()


def build_network_of_run(
    cfg: StrPath,
    data: Data | None,
    options: TrainOptions,
    *,
    clear: bool = False,
    values: Mapping[str, str] | None = None,
    size: tuple[int, int] | None = None,
    dialect: Dialect | str | None = None,
    **kwargs: Any,
) -> Network:
    """Build the network of a run as ``build_network`` does.

    If ``options`` resume a run, it has the values, the size and the dialect of that run where others are not given.
    ``kwargs``: other arguments of ``build_network``.

    Raises:
        ConfigError: The cfg cannot be read or is invalid.
        WeightsError: The state of the run cannot be read.
    """
    path = find_state(model_files.find_cfg(cfg), options, output_folder(data, options), clear=clear)
    held = read_state(path).recipe if path is not None else {}
    try:
        values = {**held.get("values", {}), **(values or {})}
        width_height = size or (tuple(held["size"]) if held.get("size") else None)
    except TypeError:
        raise WeightsError(f"{path}: damaged training state: recipe") from None
    dialect = dialect or held.get("dialect") or Dialect.ALEXEYAB
    return build_network(cfg, values=values, size=width_height, dialect=dialect, seed=options.seed, **kwargs)


def output_folder(data: Data | None, options: TrainOptions) -> StrPath:
    """Where a run writes its files: ``options.output``, or ``backup=`` of the .data file, or "backup"."""
    return options.output if options.output is not None else data_file_entries(data).get("backup", "backup")


def run_name(cfg: StrPath, options: TrainOptions) -> str:
    """The stem of a run's files: ``options.name``, or that of the cfg."""
    return options.name or checkpoint_name(cfg)


def load_start(
    network: Network, options: TrainOptions, folder: StrPath, *, clear: bool = False, data: Data | None = None
) -> Start:
    """Fill a network with what a run starts from.

    The state in ``folder`` comes first, if ``options.resume`` is true and there is one; then the state beside
    ``options.weights``; then these weights; then the network's own.

    Args:
        network: The network.
        options: Of which those of the start, ``name`` and those of the labels are used.
        folder: Where the run writes its files.
        clear: Start at iteration 0: no state is resumed, unless ``options.resume`` names its file.
        data: What it trains on, for its class names.

    Raises:
        ConfigError: The cfg is one for inference.
        WeightsError: The weights or the state cannot be read, or do not fit the network.
    """
    check_batch(network)
    if options.transfer and (options.weights is None or options.upto is not None):
        raise ConfigError("transfer: expected weights to take layers from, and no upto")
    path = find_state(network.config.path, options, folder, clear=clear)
    if path is not None:
        state = read_state(path)
        state.restore_network(network, path)
        return Start(f"resuming from {path} at iteration {state.iteration}", path, state)
    missing = ""
    if options.resume is True and not clear:
        missing = f"no training state in {os.fspath(folder)} to resume from: "
    if options.weights is None:
        own = f"the network's weights, {network.seen:,} images seen" if network.seen else "initial weights"
        return Start(f"{missing}starting from {own}{_warm_start(network)}")
    file = resolve_weights(options.weights)
    if options.transfer:
        names = read_class_names(network, data, options)
        transferred = transfer_weights(network, file, cfg=options.weights_cfg, names=names)
        return Start(f"{missing}starting from {os.fspath(file)}: {transferred}")
    description = load_weights(network, file, options.upto)
    if clear:
        network.seen = 0
    return Start(f"{missing}starting from {description}{_warm_start(network)}")


def check_batch(network: Network) -> None:
    """Raise ConfigError if a detector's cfg has batch=1, as cfgs for inference have: training with it is poor."""
    net = network.options
    if network.heads and net.batch * max(net.time_steps, 1) == 1:
        raise ConfigError(
            f"{network.config.path}: [net] batch=1 is for inference. For training use batch=64 and subdivisions=16, "
            "or more subdivisions if memory is short (--set batch=64 --set subdivisions=16)"
        )


def check_iterations_left(network: Network, iteration: int) -> None:
    """Raise ConfigError if ``iteration`` updates have been made and the cfg asks for no more."""
    max_batches = network.options.max_batches
    if max_batches and iteration >= max_batches:
        raise ConfigError(
            f"{network.seen:,} images seen, which is iteration {iteration} of max_batches={max_batches}: nothing is "
            "left to train. Raise max_batches, or start at iteration 0 (--clear; clear=True) to train on other data"
        )


def resolve_weights(name: StrPath) -> StrPath:
    """The file of weights that are given by a path or a name of the catalogue, which fetches them."""
    if not os.path.exists(name) and os.fspath(name) in catalogue.entries():
        return catalogue.fetch(os.fspath(name))
    return name


def load_weights(network: Network, path: StrPath, upto: int | None = None) -> str:
    """Load the weights that training starts from.

    A .weights file of the whole network or of its first layers (a backbone such as yolov4-tiny.conv.29) is recognised
    by its length. Layers that it does not fill keep their values, and ``seen`` is 0 then.

    Args:
        network: The network.
        path: A .weights file or a checkpoint.
        upto: Load the first so many layers only.

    Returns:
        A description of what was loaded.

    Raises:
        WeightsError: The file cannot be read or does not fit.
    """
    name = os.fspath(path)
    layers = len(network.layers)
    if is_container(path):
        content = checkpoint.load(path)
        count = (content.layers or layers) if upto is None else upto
        checkpoint.fill(network, content, path, upto=count)
    else:
        count = weights.count_filled_layers(network, path) if upto is None else upto
        weights.load(network, path, upto=None if count == layers else count)
    if count < layers:
        network.seen = 0
        return f"{name}: the first {count} of {layers} layers (a backbone); the others have initial weights"
    return f"{name}: all {layers} layers, {network.seen:,} images seen"


def find_state(cfg: StrPath, options: TrainOptions, folder: StrPath, *, clear: bool) -> pathlib.Path | None:
    """The state file to resume; None to start without one.

    A run that torchrun has restarted continues from its own state, whatever it was started from.

    Raises:
        WeightsError: ``options`` name a file that does not exist.
    """
    own = state_path(CheckpointWriter.weights_path(folder, run_name(cfg, options), "last"))
    if is_restart() and own.is_file():
        return own
    if not isinstance(options.resume, bool):
        path = pathlib.Path(options.resume)
        if not path.is_file():
            raise WeightsError(f"{path}: no such training state")
        return path
    if clear:
        return None
    if options.resume and own.is_file():
        return own
    if options.weights is not None and not options.transfer:
        path = state_path(options.weights)
        if path.is_file() and pathlib.Path(options.weights).stem.endswith("_last"):
            return path
    return None


def _warm_start(network: Network) -> str:
    if not network.seen:
        return ""
    iteration = network.seen // schedule.images_per_iteration(network.options)
    return f"; warm start at iteration {iteration}, momentum starts at 0"
