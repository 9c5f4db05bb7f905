"""Show the classes and sizes of objects, and the network input that they need.

    darknet-py data stats my.data
    darknet-py data stats my.data yolov4-tiny --imgsz 608 608 --output stats

Sizes are those after resizing to the network's input: objects below 16 x 16 pixels are hard to find. --output writes
plots of classes, of sizes with the network's anchors, of positions, and of small objects over the size of the input."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .. import _options, _output, _records
from . import _writing

if TYPE_CHECKING:
    from ...data.dataset import Dataset, Sample
    from ...data.statistics import DatasetStatistics

_SIZE, _STRIDE = (416, 416), 32  # of an input without MODEL


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _writing.add_data(parser)
    parser.add_argument("model", metavar="MODEL", nargs="?", help=f"a cfg file, or {_options.NAME}")
    _options.add(parser, "--imgsz/--size", note=f"(default without MODEL: {_SIZE[0]} {_SIZE[1]})")
    _options.add(parser, "--plugin")
    _options.add(parser, "-o/--output", metavar="DIR", note="a folder for plots")
    _options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Compute the statistics, print and plot them."""
    from ... import cfg
    from ...data import plots
    from ...data.anchor_cfg import AnchorCfg
    from ...data.statistics import compare_input_sizes, describe_input_sizes
    from ...data.subsets import merge_datasets
    from ...figures import require_figure_class
    from ...hub.model_files import find_cfg
    from ...network import Network

    size = tuple(args.size) if args.size else None
    network = Network(cfg.load(find_cfg(args.model)), size=size) if args.model else None
    anchors = AnchorCfg(network) if network else None
    width, height = (network.shape.width, network.shape.height) if network else size or _SIZE
    dataset = merge_datasets(list(_writing.load(args).values()), args.data)
    statistics = compute(args, dataset)
    sizes = compare_input_sizes(statistics, width, height, anchors.stride if anchors else _STRIDE)
    if args.json != "-":
        print("\n".join([*statistics.table(), *describe_input_sizes(statistics, sizes, width)]))
    if args.json:
        _output.check(args, dataset.files())
        _records.write_json(args.json, statistics.to_dict(width, height))
    if args.output:
        used = anchors.used if anchors else None
        require_figure_class()
        files = plots.write_plots(statistics, args.output, dataset, sizes, (width, height), used)
        print("\n".join(map(str, files)), file=sys.stderr)
    return 0


def compute(args: argparse.Namespace, dataset: Dataset) -> DatasetStatistics:
    """Compute the statistics of a data set, with a progress bar."""
    from ...data.statistics import compute_statistics

    def progress(samples: Iterable[Sample]) -> Iterable[Sample]:
        return _output.progress_bar(samples, len(dataset), quiet=args.quiet)

    return compute_statistics(dataset, progress=progress)
