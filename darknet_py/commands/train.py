"""Train a network on a data set.

    darknet-py train voc.data yolov4-tiny.cfg yolov4-tiny.conv.29
    darknet-py train data.yaml my.cfg --resume -o runs/a --set max_batches=6000 --set steps=4800,5400
    torchrun --nproc-per-node=2 -m darknet_py train voc.data my.cfg --sync-norm

DATA is a .data file, a list or folder of images with label files, a data.yaml, COCO's annotation JSON or a
Pascal VOC folder; for a classifier a .data file with labels=. WEIGHTS may be a whole network's or a backbone's;
weights that a training has left with its state beside them go on with that training. The recipe is that of [net].
Into DIR go NAME_last.weights with its state, NAME_best, NAME_final, NAME_1000 ..., a chart and a CSV. Ctrl-C
saves; --resume goes on as if nothing had happened. Under torchrun the processes share every batch of the cfg."""

from __future__ import annotations

import argparse

from . import _options, _training


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("data", metavar="DATA", help="the data set")
    parser.add_argument("model", metavar="MODEL", help="a cfg, or a name of the catalogue")
    parser.add_argument("weights", metavar="WEIGHTS", nargs="?", help="to start from (random values)")
    start = parser.add_argument_group("start")
    start.add_argument("--resume", action="store_true", help="resume from the state in --output, if there is one")
    start.add_argument("--clear", action="store_true", help="count iterations from 0, and take weights as mere weights")
    _options.add(start, "--upto")
    _options.add(start, "--seed", default=0)
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value for a key of [net]; as often as needed",
    )
    recipe.add_argument("--freeze", type=int, default=0, metavar="N", help="the first N layers stay as they are")
    recipe.add_argument(
        "--gradients",
        choices=("darknet", "autograd"),
        default="darknet",
        help="Darknet's hand-made ones, or the derivatives of its losses (darknet)",
    )
    recipe.add_argument(
        "--patience", type=int, default=0, metavar="N", help="end after N countings of mAP without a better one (never)"
    )
    _add_files(parser)
    _add_machine(parser)


def _add_files(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("files and figures")
    _options.add(
        files, "-o/--output", metavar="DIR", note="folder for all files (default: backup= of DATA, otherwise backup)"
    )
    files.add_argument(
        "--save-every",
        type=int,
        default=0,
        metavar="N",
        help="iterations between numbered files (1000; 10000 in long trainings)",
    )
    files.add_argument("--save-last", type=int, default=0, metavar="N", help="iterations between _last files (100)")
    files.add_argument(
        "--map-every",
        type=int,
        default=0,
        metavar="N",
        help="iterations between countings of mAP (those of 4 times the set)",
    )
    files.add_argument("--no-map", action="store_true", help="count no mAP")
    files.add_argument("--chart", metavar="FILE", help="instead of DIR/chart_NAME.png; '' for none")
    files.add_argument("--tensorboard", action="store_true", help="write for TensorBoard, too: DIR/tensorboard")
    _options.add(files, "--quiet")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    machine = parser.add_argument_group("machine")
    _options.add(machine, "--device", default="auto")
    _options.add(machine, "--workers", default=4)
    machine.add_argument(
        "--amp", choices=("bf16", "fp16"), help="half precision where it is safe; fp16 scales the loss"
    )
    machine.add_argument("--channels-last", action="store_true", help="lay images as GPUs read them fastest")
    machine.add_argument(
        "--recompute",
        action="store_true",
        help="keep less between forward and backward: less memory, a third more time",
    )
    machine.add_argument("--sync-norm", action="store_true", help="batch norm over all processes of torchrun")
    machine.add_argument("--deterministic", action="store_true", help="the same bits in every run; slower on GPUs")
    _options.add(machine, "--imgsz/--size")
    _options.add(machine, "--dialect", default="alexeyab")
    _options.add(machine, "--strict")


def run(args: argparse.Namespace) -> int:
    """Train."""
    from ..training import resume

    how = {
        "score": not args.no_map,
        "map_every": args.map_every,
        "save_every": args.save_every,
        "save_last": args.save_last,
        "chart": args.chart,
        "tensorboard": args.tensorboard,
        "workers": args.workers,
        "patience": args.patience,
        "channels_last": args.channels_last,
        "recompute": args.recompute,
    }
    order = _training.Order(
        data=args.data,
        cfg=args.model,
        weights=args.weights,
        out=args.output,
        resume=args.resume,
        clear=args.clear,
        upto=args.upto,
        seed=args.seed,
        device=args.device,
        dialect=args.dialect,
        size=tuple(args.size) if args.size else None,
        strict=args.strict,
        values=resume.settings(args.set),
        amp=args.amp,
        synchronised=args.sync_norm,
        deterministic=args.deterministic,
        quiet=args.quiet,
        trainer={"freeze": args.freeze, "gradients": args.gradients},
        run=how,
    )
    return _training.train(order)
