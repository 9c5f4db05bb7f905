"""Compute anchors for a data set, and write the cfg with them.

Prints the mean IoU of the objects with their best anchor, for the cfg's anchors and for the new ones, the anchors of
each head, and the lines for the cfg. -o writes the cfg with the new anchors and keeps its comments; its heads must be
trained again. Darknet's own command line: detector calc_anchors DATA -num_of_clusters 9."""

from __future__ import annotations

import argparse

from . import _options, _output

_MIN_GAIN = 0.01  # mean IoU below which new anchors are not worth training the heads again


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("data", metavar="DATA", help="a .data file, list, folder, data.yaml, COCO json or VOC folder")
    parser.add_argument("model", metavar="MODEL", help=f"a cfg file, or {_options.NAME}")
    parser.add_argument("--clusters", type=int, metavar="N", help="number of anchors (default: that of the cfg)")
    parser.add_argument(
        "--method",
        choices=("search", "darknet"),
        default="search",
        help="search: k-means with restarts and random mutations; darknet: k-means once (default: search)",
    )
    _options.add(parser, "--imgsz/--size")
    _options.add(parser, "--plugin")
    _options.add(parser, "--subset", default="train")
    _options.add(parser, "--polygons")
    _options.add(parser, "--seed", default=0)
    _options.add(parser, "-o/--output", metavar="FILE", note="the cfg with the new anchors")


def run(args: argparse.Namespace) -> int:
    """Compute the anchors and print them."""
    import sys

    import numpy as np

    from .. import cfg
    from ..data import anchors, labels
    from ..data.anchor_cfg import AnchorCfg
    from ..data.formats import load_dataset
    from ..files import atomic_write
    from ..hub import catalogue
    from ..network import Network

    is_named = args.model in catalogue.entries()
    config = cfg.load(catalogue.cfg_path(args.model) if is_named else args.model)
    network = Network(config, size=tuple(args.size) if args.size else None)
    cfg_anchors = AnchorCfg(network)
    dataset = load_dataset(args.data, args.subset, polygons=args.polygons)
    labels.log_problems(dataset.problems)
    boxes = anchors.collect_sizes(dataset, network.shape.width, network.shape.height)
    count = args.clusters or len(cfg_anchors.anchors)
    rng = np.random.default_rng(args.seed)
    compute_anchors = anchors.cluster_anchors if args.method == "darknet" else anchors.search_anchors
    new = compute_anchors(boxes, count, rng)
    old_iou = cfg_anchors.mean_best_iou(boxes)
    new_iou = anchors.mean_best_iou(boxes, new)
    shape = f"{network.shape.width} x {network.shape.height}"
    print(f"{len(boxes)} objects in {len(dataset)} images, for an input of {shape}")
    print(f"avg IoU {old_iou:.2%} with {len(cfg_anchors.used)} anchors of {config.path}")
    print(f"avg IoU {new_iou:.2%} with {count} new anchors")
    print("\n".join(cfg_anchors.describe(new, boxes)))
    print(f"anchors = {anchors.format_anchors(new)}")
    print("counters_per_class = " + ", ".join(map(str, anchors.count_classes(dataset, len(dataset.names)))))
    if new_iou - old_iou < _MIN_GAIN:
        print(
            f"note: the gain of {new_iou - old_iou:.2%} is hardly worth it: existing weights need the old anchors",
            file=sys.stderr,
        )
    if args.output:
        _output.check(args, dataset.files())
        with atomic_write(args.output, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(cfg_anchors.rewrite(new))
    return 0
