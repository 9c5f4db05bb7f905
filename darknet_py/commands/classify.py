"""Classify images.

    darknet-py classify my.cfg my.weights dog.jpg --names imagenet.names
    darknet-py classify my.cfg my.weights --valid my.data --top 5

SOURCE is an image, a folder, a glob pattern or a .txt list of images. Prints the classes with the highest scores;
with --valid, the top-1 and top-k accuracy. A file that cannot be read is reported on stderr, the others are processed
(with --valid it counts as wrong), and the exit status is 1."""

from __future__ import annotations

import argparse
import collections
from typing import Any

from ..errors import DataError
from ..images.limits import MAX_PIXELS
from ..runtimes import is_model_file
from . import _model, _options, _output, _records

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
    return _compute_accuracy(args) if args.valid else _classify(args)


def _classify(args: argparse.Namespace) -> int:
    from ..classifier import Classifier
    from ..images.sources import expand_sources

    images = expand_sources(args.sources)
    classifier = Classifier(
        _model.load_model(args, _model.find_files(args)),
        names=args.names,
        letterbox=args.letterbox,
        batch=args.batch,
        engine=args.engine,
        dtype=args.dtype,
        exif=bool(args.exif),
        max_pixels=args.max_pixels,
    )
    k = args.top or 5
    summaries: list[dict[str, Any]] = []
    errors = _output.ErrorLog()
    with _records.JsonFile(args.json, summaries), _records.JsonLines(args.jsonl) as lines:
        for result in classifier.stream(images, on_error=errors.add):
            summaries.append(result.summary(k))
            lines.write(summaries[-1])
            if "-" not in (args.json, args.jsonl):
                print(f"{result.path}:\n{result.to_text(k, classifier.network.dialect)}", flush=True)
    return errors.status()


def _compute_accuracy(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..evaluation.accuracy import evaluate_accuracy_on_data

    network = _model.load_model(args, _model.find_files(args))
    kwargs = {key: getattr(args, key) for key in ("view", "batch", "workers", "engine", "dtype", "max_pixels")}
    kwargs["exif"] = bool(args.exif)
    errors = _output.ErrorLog()
    count, scores = evaluate_accuracy_on_data(network, args.valid, k=args.top or 0, on_error=errors.add, **kwargs)
    last = collections.deque(tqdm(scores, total=count, unit=" images", disable=None), maxlen=1)
    if not last:
        raise DataError(f"{args.valid}: expected images, found none")
    score = last.pop()
    print(f"top 1: {100 * score.top1:.2f} %, top {score.k}: {100 * score.topk:.2f} % of {score.images} images")
    return errors.status()
