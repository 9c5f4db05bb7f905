"""Check that cfg and weights fit, or check a data set.

    darknet-py check my.cfg my.weights
    darknet-py check my.safetensors
    darknet-py check my.data --per-class
    darknet-py check my.data my.cfg

Reports, for a network, options without effect, layers that do not fit each other, and weights that are too short, too
long, or of another network or number of classes; for a data set (a .data file, a data.yaml, COCO's JSON, a folder),
missing, broken, invalid and duplicate images and labels, and whether classes, channels and anchors of the cfg that
follows fit it. The exit status is 1 if there are problems."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..images.limits import MAX_PIXELS
from . import _model, _options

if TYPE_CHECKING:
    from ..data.check import SubsetReport
    from ..network import Network

_DATA_SUFFIXES = (".data", ".yaml", ".yml", ".json", ".list", ".txt", ".xml")
_WRONG = "wrong"  # first word of a line about a problem


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _options.add_model_files(parser)
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    _options.add_network(parser, without=("--device", "--allow-non-finite"))
    _options.add(parser, "--names")
    _options.add(parser, "--polygons")
    _options.add(parser, "--max-pixels", default=MAX_PIXELS)
    _options.add(parser, "--per-class")


def run(args: argparse.Namespace) -> int:
    """Print the checks; return 1 if there are problems."""
    if args.model.lower().endswith(_DATA_SUFFIXES) or os.path.isdir(args.model):
        return _check_data(args)
    return _check_network(args)


def _check_data(args: argparse.Namespace) -> int:
    """Check a data set, and the cfg after it against the data set."""
    from ..data import data_file
    from ..hub.model_files import find_cfg

    network = _model.build_network(args, find_cfg(args.weights), strict=args.strict) if args.weights else None
    classes = len(data_file.read_names(args.names)) if args.names else None
    problems = 0
    for line in data_lines(
        args.model,
        network,
        args.weights,
        classes=classes,
        polygons=args.polygons,
        max_pixels=args.max_pixels,
        per_class=args.per_class,
    ):
        problems += line.startswith(_WRONG)
        print(line)
    return 1 if problems else 0


def data_lines(
    data: str,
    network: Network | None = None,
    cfg: str = "",
    *,
    classes: int | None = None,
    polygons: bool = False,
    max_pixels: int = MAX_PIXELS,
    per_class: bool = False,
    quiet: bool = False,
) -> Iterator[str]:
    """Check a data set, and yield the lines of the report.

    Args:
        data: the data set.
        network: the network that it must fit.
        cfg: its name in the report.
        classes: number of classes, without a network.
        polygons: take the bounding boxes of polygons in label files.
        max_pixels: refuse images with more pixels.
        per_class: also yield the number of objects of each class.
        quiet: show no progress bar.
    """
    from tqdm import tqdm

    from ..data import check
    from ..data.labels import summarise

    def progress_bar(names: Iterable[str]) -> Iterable[str]:
        bar: Iterable[str] = tqdm(names, unit="image", file=sys.stderr, disable=quiet or None)
        return bar

    tree_names: Sequence[str] = ()
    if network is not None:
        classes = _classes(network)
        tree_names = network.heads[-1].tree_names if network.heads else ()
    channels = None if network is None else network.shape.channels
    for report in check.check_dataset(
        data,
        classes=classes,
        channels=channels,
        polygons=polygons,
        max_pixels=max_pixels,
        tree_names=tree_names,
        progress=progress_bar,
    ):
        yield f"ok     {report.summary}"
        if per_class:
            yield from report.class_lines()
        yield from (f"note   {note}" for note in summarise(report.notes))
        yield from (f"{_WRONG}  {problem}" for problem in report.problems)
        if network is not None:
            yield from _fit_lines(cfg, network, report)


def _fit_lines(cfg: str, network: Network, report: SubsetReport) -> Iterator[str]:
    """Yield how a network fits one list of a data set."""
    from .. import schedule
    from ..data import anchors
    from ..data.anchor_cfg import AnchorCfg
    from ..errors import ConfigError

    counts = [head.classes for head in network.heads] or [_classes(network)]
    shown = ", ".join(map(str, dict.fromkeys(counts)))
    if report.names and set(counts) != {len(report.names)}:
        yield f"{_WRONG}  {cfg}: {shown} classes, but the data set has {len(report.names)} class names"
    else:
        yield f"ok     {cfg}: {shown} classes, {network.shape.channels} channels"
    if report.dataset is not None and any(head.anchors for head in network.heads) and any(report.counts):
        boxes = anchors.collect_sizes(report.dataset, network.shape.width, network.shape.height)
        try:
            fit = AnchorCfg(network)
            yield f"ok     {cfg}: {len(fit.used)} anchors, avg IoU {fit.mean_best_iou(boxes):.2%} with the objects"
        except ConfigError as error:
            yield f"note   {error}"
        if report.subset == "train" and (
            note := schedule.length_note(network.options, len(report.dataset), max(counts))
        ):
            yield f"note   {cfg}: {note}"


def _classes(network: Network) -> int:
    from ..classifier import num_classes

    return network.heads[-1].classes if network.heads else num_classes(network)


def extension_lines(network: Network) -> Iterator[str]:
    """Return lines on what the cfg of a network has and C Darknet does not know: no problem here."""
    from ..cfg.extensions import find_extensions

    options = (network.options, *(layer.options for layer in network))
    package = __name__.partition(".")[0]
    sections = {
        name
        for layer in network
        for name in layer.names
        if not layer.is_darknets or type(layer).__module__.partition(".")[0] != package  # that of a plug-in
    }
    return (f"note   {extension}" for extension in find_extensions(network.config, options, sections))


def _check_network(args: argparse.Namespace) -> int:
    from .. import weights
    from ..data.class_names import ClassNames, resolve_class_names
    from ..errors import DarknetError, WeightsError, WeightsWarning
    from ..postprocess import require_heads
    from ..weights import checkpoint
    from ..weights.containers import is_container

    model = _model.find_files(args)
    if is_container(model.cfg) and model.weights is not None:
        raise WeightsError(f"{model.cfg}: contains weights: expected no other weights, found {model.weights}")
    path = model.cfg if is_container(model.cfg) else model.weights
    saved = checkpoint.load(path) if path is not None and is_container(path) else None
    problems = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if saved is not None and path == model.cfg:
            size = tuple(args.size) if args.size else None
            network = checkpoint.build(saved, path, size=size, max_bytes=args.max_bytes)
        else:
            network = _model.build_network(args, model.cfg, strict=False)
    notes = [str(warning.message) for warning in caught]
    notes += map(str, network.ineffective_options())
    for note in notes:
        print(f"note   {note}")
    for line in extension_lines(network):
        print(line)
    floats = sum(array.tensor.numel() for array in weights.stored(network))
    print(f"ok     {model.cfg}: {len(network.layers)} layers, {network.flops / 1e9:.3f} BFLOPS, {floats:,} floats")
    if network.heads:
        try:
            require_heads(network)
        except DarknetError as error:
            problems += 1
            print(f"wrong  {error}")
    if path is not None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", WeightsWarning)
                if saved is not None:
                    checkpoint.fill(network, saved, path)
                else:
                    weights.load(network, path)
            print(f"ok     {path}: fits{'' if saved else ' to the byte'}, seen {network.seen:,} images")
        except (DarknetError, WeightsWarning) as error:
            problems += 1
            print(f"wrong  {error}")
    names: ClassNames = args.names or network.names or model.names
    if names and network.heads:
        source = path if names is network.names else names
        try:
            resolve_class_names(names, network.heads[-1].classes)
            print(f"ok     {source}: {network.heads[-1].classes} class names")
        except DarknetError as error:
            problems += 1
            print(f"wrong  {error}")
    if args.strict:
        problems += len(notes)
    return 1 if problems else 0
