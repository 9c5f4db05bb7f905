"""Remove channels and residual units, and write a smaller cfg and weights.

    darknet-py train voc.data my.cfg my.weights --clear --sparsity 0.001
    darknet-py prune my.cfg backup/my_final.weights --ratio 0.5 --data voc.data --chart scales.png
    darknet-py train voc.data pruned/my-pruned.cfg pruned/my-pruned.weights --clear

Channels are ranked by the scales of batch norm over the whole network. DIR gets NAME-pruned.cfg, which keeps the
comments, and NAME-pruned.weights; every Darknet loads both. Prints the channels of each layer, and parameters, BFLOPS,
bytes, milliseconds per image and mAP before and after."""

from __future__ import annotations

import argparse
import sys

from . import _model, _options, _output, _records


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _options.add_model(parser)
    selection = parser.add_argument_group("what is removed")
    selection.add_argument(
        "--ratio",
        type=float,
        default=0.0,
        metavar="R",
        help="share of the channels that can be removed, 0 or more and below 1 (default: 0)",
    )
    selection.add_argument(
        "--min-channels", type=int, default=8, metavar="N", help="channels that every layer keeps (default: 8)"
    )
    selection.add_argument(
        "--layers", type=int, default=0, metavar="N", help="residual units to remove as a whole (default: 0)"
    )
    selection.add_argument(
        "--score",
        choices=("bn", "l1"),
        default="bn",
        help="rank channels by their scales in batch norm, or by the L1 norm of their weights (default: bn)",
    )
    evaluation = parser.add_argument_group("evaluation")
    _options.add(evaluation, "--data", note="before and after")
    _options.add(evaluation, "--subset", default="valid")
    output = parser.add_argument_group("output")
    _options.add(output, "-o/--output", metavar="DIR", default="pruned", note="folder of the files (default: pruned)")
    _options.add(output, "--chart", note="of the distribution of the scores")
    _options.add(output, "--json")
    _options.add(output, "--quiet")


def run(args: argparse.Namespace) -> int:
    """Prune, write the files and print the tables."""
    from ..figures import require_figure_class
    from ..pruning.pruner import prune
    from ..pruning.report import format_report, measure, plot_scores

    if args.chart:
        require_figure_class()
    network = _model.load_network(args, _model.find_files(args))
    pruned = prune(network, args.ratio, min_channels=args.min_channels, score=args.score, layers=args.layers)
    _output.check(args)
    files = pruned.save(args.output)
    report = measure(pruned, args.data, subset=args.subset, progress=not args.quiet)
    if args.chart:
        plot_scores(pruned, args.chart)
    if args.json:
        _records.write_json(args.json, report)
    if args.json != "-":
        print("\n".join(format_report(report)))
    print(*files, sep="\n", file=sys.stderr)
    return 0
