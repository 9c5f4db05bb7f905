"""Upload a model to the Hugging Face Hub.

    darknet-py push my.cfg my.weights owner/my-model --data my.data --license mit
    darknet-py push my.safetensors owner/my-model --scores map.json --private
    darknet-py push my.cfg my.weights owner/my-model -o folder

Writes model.safetensors with cfg and class names inside, the cfg, the class names and a model card, and uploads them;
the repository is created if it is absent. The card states the cfg, the source and its SHA-256, and with --data or
--scores the mAP of each protocol by name. It needs a token: `hf auth login`, or HF_TOKEN. The model is then
hf://owner/my-model."""

from __future__ import annotations

import argparse
import collections
import pathlib
import sys
from typing import TYPE_CHECKING

from ..errors import DataError
from . import _model, _options, _output

if TYPE_CHECKING:
    from ..network import Network
    from ..publishing.model_card import CardScore


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _options.add_model(parser)
    parser.add_argument("repo", metavar="REPO", help="owner/repo")
    _options.add(parser, "--names", note="(default: those of the checkpoint, the catalogue or DATA)")
    card = parser.add_argument_group("model card")
    scores = card.add_mutually_exclusive_group()
    _options.add(scores, "--data", note="by every protocol")
    scores.add_argument(
        "--scores", metavar="FILE", action="append", help="what evaluate --json has written; can be repeated"
    )
    _options.add(card, "--subset", default="valid")
    card.add_argument("--license", default="", metavar="ID", help="licence, such as mit (default: unset)")
    card.add_argument("--origin", default="", metavar="TEXT", help="where the weights come from")
    parser.add_argument("--private", action="store_true", default=None, help="create a private repository")
    parser.add_argument("--message", default="Upload a model", metavar="TEXT", help="message of the commit")
    _options.add(parser, "-o/--output", metavar="DIR", note="write the files to this folder, and upload nothing")
    _options.add(parser, "--quiet")


def run(args: argparse.Namespace) -> int:
    """Evaluate, write and upload."""
    from ..data.data_file import read_names
    from ..hub.huggingface import package
    from ..publishing import upload
    from ..publishing.model_card import read_scores

    repo = upload.require_repository(args.repo)
    package()
    if not args.output:
        upload.require_token()
    scores = [score for path in args.scores or () for score in read_scores(path)]
    model = _model.find_files(args)
    network = _model.load_network(args, model)
    if args.names:
        network.names = read_names(args.names)
    if args.data:
        scores = _evaluate(args, network)
    source = " ".join(filter(None, (args.origin, upload.describe_source(model.cfg, model.weights))))
    if args.output:
        for path in upload.write_repository(
            network,
            args.output,
            repo,
            scores=scores,
            source=source,
            license=args.license,
            allow_non_finite=args.allow_non_finite,
        ):
            print(path)
        return 0
    url = upload.push(
        network,
        repo,
        scores=scores,
        source=source,
        license=args.license,
        private=args.private,
        message=args.message,
        allow_non_finite=args.allow_non_finite,
    )
    _output.print_last(url)
    return 0


def _evaluate(args: argparse.Namespace, network: Network) -> list[CardScore]:
    """The scores on DATA: mAP by every protocol whose package is installed, or the accuracy of a classifier."""
    from ..evaluation import coco
    from ..evaluation.accuracy import evaluate_accuracy_on_data
    from ..evaluation.evaluator import evaluate
    from ..evaluation.scores import Protocol
    from ..publishing.model_card import accuracy_scores, map_scores

    name = pathlib.Path(args.data).stem
    if not network.heads:
        _, values = evaluate_accuracy_on_data(network, args.data)
        last = collections.deque(values, maxlen=1)
        if not last:
            raise DataError(f"{args.data}: expected images, found none")
        return accuracy_scores(last[0], name)
    scores: list[CardScore] = []
    for protocol in Protocol:
        try:
            if protocol is Protocol.COCO:
                coco.find_backend(None)
        except ImportError as error:
            print(f"darknet-py: left out of the card: {error}", file=sys.stderr)
            continue
        evaluation = evaluate(
            network, args.data, protocol=protocol, subset=args.subset, names=args.names, progress=not args.quiet
        )
        scores += map_scores(evaluation, name, args.subset)
        network.names = network.names or tuple(evaluation.data.dataset.names)
    return scores
