"""Name what images show, with a classifier.

    darknet-py classify darknet19.cfg darknet19.weights dog.jpg --names imagenet.shortnames.list
    darknet-py classify my.cfg my.weights --valid my.data --top 5

SOURCE is an image, a folder, a pattern or a list in a .txt file. Prints the most probable classes, or with
--valid how often they are right."""

from __future__ import annotations

import argparse
import collections

from ..errors import DataError
from . import _model

_VIEWS = ("valid", "validcrop", "validfull", "validmulti", "valid10")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("model", metavar="MODEL", help="a cfg, or a name of the catalogue")
    parser.add_argument("weights", metavar="WEIGHTS", help="its weights")
    parser.add_argument("sources", metavar="SOURCE", nargs="*", help="what to look at")
    parser.add_argument("--names", help="file of class names, one a line")
    parser.add_argument("--top", type=int, metavar="K", help="classes to show (5), or that count as right")
    parser.add_argument("--json", action="store_true", help="print JSON, a line an image")
    parser.add_argument("--valid", metavar="DATA", help="count how often the valid list of a .data file is right")
    parser.add_argument("--view", choices=_VIEWS, default="valid", help="what of each image --valid looks at (valid)")
    parser.add_argument("--letterbox", action=argparse.BooleanOptionalAction, help="the whole image, or its middle")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="images in the network at once (8)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="threads that read images (2)")
    _model.add_engine(parser)
    _model.options(parser)


def run(args: argparse.Namespace) -> int:
    """Classify and print."""
    if bool(args.sources) == bool(args.valid):
        raise DataError("expected either images to look at, or --valid with a .data file")
    return _valid(args) if args.valid else _predict(args)


def _predict(args: argparse.Namespace) -> int:
    from ..classifier import Classifier
    from ..images.sources import expand_sources

    images = expand_sources(args.sources)
    network = _model.load(args, _model.found(args))
    classifier = Classifier(
        network,
        names=args.names,
        letterbox=args.letterbox,
        batch=args.batch,
        engine=args.engine,
        dtype=args.dtype,
    )
    for result in classifier.stream(images):
        if args.json:
            print(result.to_json(args.top or 5), flush=True)
        else:
            print(f"{result.path}:\n{result.to_text(args.top or 5, network.dialect)}", flush=True)
    return 0


def _valid(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..evaluation.accuracy import evaluate_accuracy_on_data

    network = _model.load(args, _model.found(args))
    kwargs = {key: getattr(args, key) for key in ("view", "batch", "workers", "engine", "dtype")}
    count, scores = evaluate_accuracy_on_data(network, args.valid, k=args.top or 0, **kwargs)
    last = collections.deque(tqdm(scores, total=count, unit=" images", disable=None), maxlen=1)
    if not last:
        raise DataError(f"{args.valid}: no images to look at")
    score = last.pop()
    print(f"top 1: {100 * score.top1:.2f} %, top {score.k}: {100 * score.topk:.2f} % of {score.images} images")
    return 0
