"""Classify images.

    darknet-py classify my.cfg my.weights dog.jpg --names imagenet.names
    darknet-py classify my.cfg my.weights --valid my.data --top 5

SOURCE is an image, a folder, a glob pattern or a .txt list of images. Prints the classes with the highest scores;
with --valid, the top-1 and top-k accuracy. A file that cannot be read is reported on stderr, the others are processed
(with --valid it counts as wrong), and the exit status is 1. Under torchrun the processes share the images."""

from __future__ import annotations

import argparse
import collections
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..images.limits import MAX_PIXELS
from ..runtimes import is_model_file
from . import _model, _options, _output, _records, _sharding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..classifier import Classification, Classifier
    from ..distributed import ProcessGroup

_VIEWS = ("valid", "validcrop", "validfull", "validmulti", "valid10")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = "%(prog)s [options] MODEL [WEIGHTS] [SOURCE ...]"
    parser.add_argument("model", metavar="MODEL", help=f"a cfg file, an exported file, or {_options.NAME}")
    parser.add_argument(
        "weights", metavar="WEIGHTS", nargs="?", help="weights of the network; none for an exported file"
    )
    parser.add_argument("sources", metavar="SOURCE", nargs="*", help="image, folder, glob pattern or .txt list")
    parser.add_argument(
        "--top", type=int, metavar="K", help="number of classes to print (default: 5), or k of the top-k accuracy"
    )
    parser.add_argument("--valid", metavar="DATA", help="compute the accuracy on the valid list of a .data file")
    parser.add_argument(
        "--view",
        choices=_VIEWS,
        default="valid",
        metavar="VIEW",
        help="crops and sizes of each image for --valid, as Darknet's command of that name: "
        f"{', '.join(_VIEWS)} (default: valid)",
    )
    for names in ("--names", "--json", "--jsonl"):
        _options.add(parser, names)
    _options.add(parser, "--letterbox", note="instead of cropping the centre (default: only with --dialect pjreddie)")
    _options.add(parser, "--exif")
    _options.add(parser, "--max-pixels", default=MAX_PIXELS)
    _options.add(parser, "--batch", default=8)
    _options.add(parser, "--workers", default=2)
    _options.add_engine(parser)
    _options.add_network(parser)


def run(args: argparse.Namespace) -> int:
    """Classify images, or compute the accuracy."""
    if is_model_file(args.model) and args.weights:
        args.weights, args.sources = None, [args.weights, *args.sources]
    if bool(args.sources) == bool(args.valid):
        raise DataError("expected either a SOURCE, or --valid with a .data file")
    with _sharding.joined(args) as group:
        return _compute_accuracy(args, group) if args.valid else _classify(args, group)


def _classify(args: argparse.Namespace, group: ProcessGroup) -> int:
    from ..images.sources import expand_sources

    images = group.compute_once(lambda: expand_sources(args.sources))
    classifier = group.compute_main_first(lambda: _create_classifier(args))
    k = args.top or 5

    def convert(result: Classification) -> tuple[dict[str, Any], str]:
        return result.summary(k), f"{result.path}:\n{result.to_text(k, classifier.architecture.dialect)}"

    summaries: list[dict[str, Any]] = []
    errors = _output.ErrorLog()
    rows: Iterable[tuple[dict[str, Any], str]]
    if group.world_size == 1:
        rows = map(convert, classifier.stream(images, on_error=errors.add))
    else:
        is_sequence = classifier.architecture.stateful
        outcomes = _sharding.compute(
            group, images, classifier.stream, convert, batch=args.batch, is_sequence=is_sequence
        )
        rows = _sharding.report_errors(outcomes, errors)
        if not group.is_main:
            return 0
    with _records.JsonFile(args.json, summaries), _records.JsonLines(args.jsonl) as lines:
        for summary, text in rows:
            summaries.append(summary)
            lines.write(summary)
            if "-" not in (args.json, args.jsonl):
                print(text, flush=True)
    return errors.status()


def _create_classifier(args: argparse.Namespace) -> Classifier:
    from ..classifier import Classifier

    return Classifier(
        _model.load_model(args, _model.find_files(args)),
        names=args.names,
        letterbox=args.letterbox,
        batch=args.batch,
        engine=args.engine,
        dtype=args.dtype,
        exif=bool(args.exif),
        max_pixels=args.max_pixels,
    )


def _compute_accuracy(args: argparse.Namespace, group: ProcessGroup) -> int:
    from tqdm import tqdm

    from ..evaluation.accuracy import evaluate_accuracy_on_data

    network = group.compute_main_first(lambda: _model.load_model(args, _model.find_files(args)))
    kwargs = {key: getattr(args, key) for key in ("view", "batch", "workers", "engine", "dtype", "max_pixels")}
    kwargs["exif"] = bool(args.exif)
    unread: list[DataError] = []
    errors = _output.ErrorLog()
    on_error = errors.add if group.world_size == 1 else unread.append
    count, scores = evaluate_accuracy_on_data(
        network, args.valid, k=args.top or 0, on_error=on_error, process_group=group, **kwargs
    )
    total = -(-count // group.world_size)
    last = collections.deque(tqdm(scores, total=total, unit=" images", disable=None if group.is_main else True), 1)
    if not last:
        raise DataError(f"{args.valid}: expected images, found none")
    for error in (error for part in group.gather(unread) for error in part):
        errors.add(error)
    if not group.is_main:
        return 0
    score = last.pop()
    print(f"top 1: {100 * score.top1:.2f} %, top {score.k}: {100 * score.topk:.2f} % of {score.images} images")
    return errors.status()
