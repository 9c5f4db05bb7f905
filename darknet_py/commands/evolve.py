"""Search hyperparameters: train a cfg with other values again and again, and keep the best.

    darknet-py evolve voc.data my.cfg yolov4-tiny.conv.29 --iterations 2000 --trials 50
    darknet-py evolve voc.data my.cfg --space space.toml --sampler tpe -o search
    darknet-py train voc.data search/best.cfg yolov4-tiny.conv.29 --clear

Each trial trains with other values of the learning rate, momentum, thresholds ..., or of what a space file names,
always with the same seed. The first one has the cfg's own values. DIR gets best.cfg, which keeps the comments,
best.weights, trials.csv, history.png and importance.png. The same command continues a search that was stopped; on one
storage, several processes and machines work on one study."""

from __future__ import annotations

import argparse
import sys

from ..images.limits import MAX_PIXELS
from . import _options, _records

_SAMPLERS = ("nsga2", "tpe", "cmaes", "random")  # tuning.samplers.create_sampler


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("data", metavar="DATA", help="the data set, with images for validation")
    parser.add_argument("model", metavar="MODEL", help=f"a cfg file, or {_options.NAME}")
    parser.add_argument("weights", metavar="WEIGHTS", nargs="?", help="weights to start from (default: random)")
    search = parser.add_argument_group("search")
    search.add_argument("--space", metavar="FILE", help="TOML file of what is searched (default: see docs/tuning.md)")
    search.add_argument(
        "--trials", type=int, default=30, metavar="N", help="end after this many trials in total (default: 30)"
    )
    search.add_argument(
        "--iterations", type=int, default=0, metavar="N", help="max_batches of a trial (default: that of the cfg)"
    )
    search.add_argument(
        "--sampler",
        choices=_SAMPLERS,
        default="nsga2",
        help="how values are chosen: nsga2 (a genetic algorithm), tpe, cmaes or random (default: nsga2)",
    )
    search.add_argument(
        "--population", type=int, default=10, metavar="N", help="trials of a generation of nsga2 (default: 10)"
    )
    search.add_argument(
        "--sampler-seed", type=int, default=0, metavar="N", help="seed of the choice of values (default: 0)"
    )
    search.add_argument(
        "--prune",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="stop a trial whose score is below the median of the others at the same iteration (default: yes)",
    )
    study = parser.add_argument_group("study and files")
    study.add_argument(
        "--storage",
        metavar="PLACE",
        help="where the trials are kept: a URL such as postgresql://USER@HOST/NAME, or the path of a journal file "
        "(default: DIR/study.db, for SQLite)",
    )
    study.add_argument("--study", default="", metavar="NAME", help="name of the study (default: that of the cfg)")
    _options.add(study, "-o/--output", metavar="DIR", default="evolve", note="folder for all files (default: evolve)")
    study.add_argument("--keep-weights", action="store_true", help="keep the weights of all trials")
    _options.add(study, "--json")
    _options.add(study, "--quiet")
    training = parser.add_argument_group("training")
    _options.add(training, "--seed", default=0, note="of every trial (default: 0)")
    _options.add(training, "--map-every", note="(default: a fifth of the iterations)")
    _options.add(training, "--map-classes")
    _options.add(training, "--polygons")
    _options.add(training, "--device", default="auto")
    _options.add(training, "--workers", default=4)
    _options.add(training, "--exif", default=False, note="(default: no)")
    _options.add(training, "--max-pixels", default=MAX_PIXELS)
    _options.add(training, "--amp")
    network = parser.add_argument_group("network")
    _options.add(network, "--imgsz/--size")
    _options.add(network, "--dialect", default="alexeyab")
    for names in ("--strict", "--max-bytes", "--allow-paths", "--plugin"):
        _options.add(network, names)


def run(args: argparse.Namespace) -> int:
    """Search, and print the tables."""
    from ..training.options import TrainOptions
    from ..tuning.search import evolve

    options = TrainOptions(
        weights=args.weights,
        seed=args.seed,
        map_every=args.map_every or 0,
        map_classes=args.map_classes or "",
        polygons=args.polygons,
        device=args.device,
        workers=args.workers,
        exif=args.exif,
        max_pixels=args.max_pixels,
        amp=None if args.amp == "off" else args.amp,
    )
    result = evolve(
        args.model,
        args.data,
        args.space,
        trials=args.trials,
        iterations=args.iterations,
        sampler=args.sampler,
        population=args.population,
        sampler_seed=args.sampler_seed,
        prune=args.prune,
        storage=args.storage,
        study=args.study,
        output=args.output,
        options=options,
        size=tuple(args.size) if args.size else None,
        dialect=args.dialect,
        strict=args.strict,
        max_bytes=args.max_bytes,
        allow_paths=args.allow_paths,
        keep_weights=args.keep_weights,
        progress=not args.quiet,
        report=_drop if args.quiet else _print,
    )
    if args.json:
        _records.write_json(args.json, result.to_dict())
    if args.json != "-":
        print("\n".join(result.format()))
    if not args.quiet:
        print(f"files in {args.output}/", file=sys.stderr)
    return 0


def _print(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _drop(sentence: str) -> None:
    """Print nothing."""
