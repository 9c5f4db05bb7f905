"""Train a network on a data set.

    darknet-py train voc.data yolov4-tiny.cfg yolov4-tiny.conv.29
    darknet-py train data.yaml my.cfg --resume -o runs/a --set max_batches=6000
    torchrun --nproc-per-node=2 -m darknet_py train voc.data my.cfg --sync-bn

DATA is a .data file, a list or folder of images with label files, a data.yaml, COCO's annotation JSON or a
Pascal VOC folder; for a classifier a .data file with labels=. WEIGHTS are those of the whole network or of a backbone;
if a training run has left its state beside them, that run is resumed. [net] of the cfg has the hyperparameters. The
output folder gets NAME_last.weights with its state, NAME_best, NAME_final, NAME_1000 ..., NAME.cfg as trained, a loss
chart and a log. Ctrl-C saves the state; --resume continues from it bit for bit, with the options that were given
then, unless others are given. Under torchrun the processes split every batch."""

from __future__ import annotations

import argparse

from ..images.limits import MAX_PIXELS
from . import _options, _training

_SWITCH = argparse.BooleanOptionalAction
# Arguments that are fields of TrainOptions, which a resumed run keeps where they are not given.
_TRAIN_OPTIONS = (
    "seed",
    "exif",
    "freeze",
    "sparsity",
    "amp",
    "channels_last",
    "gradient_checkpointing",
    "sync_bn",
    "deterministic",
    "save_every",
    "save_last",
    "validate",
    "polygons",
    "map_classes",
    "map_every",
    "patience",
    "chart",
    "log",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("data", metavar="DATA", help="the data set")
    parser.add_argument("model", metavar="MODEL", help=f"a cfg file, or {_options.NAME}")
    parser.add_argument("weights", metavar="WEIGHTS", nargs="?", help="weights to start from (default: random)")
    start = parser.add_argument_group("start")
    start.add_argument("--resume", action="store_true", help="resume from the state in the output folder, if any")
    start.add_argument(
        "--clear",
        action="store_true",
        help="start at iteration 0; ignore the training state stored with the weights",
    )
    _options.add(start, "--upto")
    start.add_argument(
        "--transfer",
        action="store_true",
        help="take every layer of WEIGHTS that fits, and the rows of classes with the same name in the heads",
    )
    start.add_argument(
        "--weights-cfg",
        metavar="CFG",
        help="with --transfer, the cfg of WEIGHTS (default: that of the catalogue, or MODEL with other classes)",
    )
    _options.add(start, "--seed", note="(default: 0); a resumed run keeps its own")
    recipe = parser.add_argument_group("hyperparameters")
    recipe.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override an option of [net]; can be repeated",
    )
    recipe.add_argument("--freeze", type=int, metavar="N", help="do not train the first N layers (default: 0)")
    recipe.add_argument(
        "--sparsity",
        type=float,
        metavar="S",
        help="L1 penalty on the scales of batch norm, for `prune`: 0.0001 to 0.01 (default: 0)",
    )
    recipe.add_argument(
        "--gradients",
        choices=("darknet", "autograd"),
        help="gradients as Darknet computes them, or the derivatives of its losses (default: darknet)",
    )
    recipe.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="stop after this many evaluations without improvement; 0: never (default: 0)",
    )
    _add_files(parser)
    _add_machine(parser)


def _add_files(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("files and evaluation")
    _options.add(
        files, "-o/--output", metavar="DIR", note="folder for all files (default: backup= of DATA, otherwise backup)"
    )
    files.add_argument(
        "--save-every",
        type=int,
        metavar="N",
        help="iterations between numbered files (default: 1000; 10000 if max_batches is 10000 or more)",
    )
    files.add_argument("--save-last", type=int, metavar="N", help="iterations between _last files (default: 100)")
    _options.add(files, "--map-every", note="(default: 4 epochs, at least 100)")
    files.add_argument("--map", dest="validate", action=_SWITCH, help="compute mAP during training (default: yes)")
    _options.add(files, "--chart", note="of the loss; '' for none (default: DIR/chart_NAME.png)")
    _options.add(files, "--map-classes")
    files.add_argument("--polygons", action=_SWITCH, help="take the bounding boxes of polygons in label files")
    files.add_argument(
        "--log",
        metavar="NAMES",
        help="where the numbers of each iteration go, separated by commas: csv (DIR/NAME_log.csv), tensorboard "
        "(DIR/tensorboard), mlflow (DIR/mlflow.db or MLFLOW_TRACKING_URI), wandb (DIR/wandb, offline) (default: csv)",
    )
    _options.add(files, "--quiet")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    machine = parser.add_argument_group("machine")
    _options.add(machine, "--device", default="auto")
    _options.add(machine, "--workers", default=4)
    _options.add(machine, "--exif", note="(default: no)")
    _options.add(machine, "--max-pixels", default=MAX_PIXELS)
    _options.add(machine, "--amp")
    machine.add_argument("--channels-last", action=_SWITCH, help="channels-last memory format (default: on CPUs)")
    machine.add_argument(
        "--gradient-checkpointing",
        action=_SWITCH,
        help="recompute activations in the backward pass: less memory, a third more time",
    )
    machine.add_argument("--sync-bn", action=_SWITCH, help="batch norm statistics over all processes of torchrun")
    machine.add_argument("--deterministic", action=_SWITCH, help="deterministic algorithms only; slower on GPUs")
    _options.add(machine, "--imgsz/--size")
    _options.add(machine, "--dialect", note="(default: alexeyab)")
    _options.add(machine, "--strict")
    _options.add(machine, "--max-bytes")
    _options.add(machine, "--allow-paths")
    _options.add(machine, "--plugin")


def run(args: argparse.Namespace) -> int:
    """Train."""
    from ..training.options import TrainOptions
    from ..training.resume import parse_settings

    given = {name: getattr(args, name) for name in _TRAIN_OPTIONS if getattr(args, name) is not None}
    if args.amp == "off":
        given["amp"] = None
    options = TrainOptions(
        weights=args.weights,
        upto=args.upto,
        transfer=args.transfer,
        weights_cfg=args.weights_cfg,
        resume=args.resume,
        device=args.device,
        output=args.output,
        verbose=not args.quiet,
        workers=args.workers,
        max_pixels=args.max_pixels,
        **given,
    )
    return _training.train(
        args.model,
        args.data,
        options,
        clear=args.clear,
        gradients=args.gradients,
        values=parse_settings(args.set),
        size=tuple(args.size) if args.size else None,
        dialect=args.dialect,
        strict=args.strict,
        max_bytes=args.max_bytes,
        allow_paths=args.allow_paths,
    )
