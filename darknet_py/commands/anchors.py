"""Find anchors that fit a data set, and write the cfg with them.

Prints how well the cfg's own anchors fit (mean overlap of an object with the nearest one), how well the new
ones do, which head gets which, and the lines for the cfg. --out writes the cfg with them; comments stay. The
heads' layers have to be trained anew then. Darknet's own line is: detector calc_anchors DATA -num_of_clusters 9."""

from __future__ import annotations

import argparse

_WORTH = 0.01  # gain below which new anchors are not worth the new training


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("data", metavar="DATA", help="a .data file, list, folder, data.yaml, COCO json or VOC folder")
    parser.add_argument("model", metavar="MODEL", help="a cfg, or a name of the catalogue")
    parser.add_argument("--clusters", type=int, metavar="N", help="number of anchors (that of the cfg)")
    parser.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help="input instead of the cfg's")
    parser.add_argument("--subset", default="train", help="which list of DATA (train)")
    parser.add_argument("--method", choices=("search", "darknet"), default="search", help="darknet: k-means once")
    parser.add_argument("--seed", type=int, default=0, help="of the search (0)")
    parser.add_argument("--out", metavar="FILE", help="write the cfg with the new anchors")


def run(args: argparse.Namespace) -> int:
    """Print what was found."""
    import sys

    import numpy as np

    from .. import cfg
    from ..data import anchors, datasets, labels
    from ..data.anchor_cfg import AnchorCfg
    from ..files import replacing
    from ..hub import catalogue
    from ..network import Network

    named = args.model in catalogue.entries()
    config = cfg.load(catalogue.cfg_path(args.model) if named else args.model)
    network = Network(config, size=tuple(args.size) if args.size else None)
    own = AnchorCfg(network)
    dataset = datasets.load(args.data, args.subset)
    labels.report(dataset.problems)
    boxes = anchors.sizes(dataset, network.shape.width, network.shape.height)
    count, rng = args.clusters or len(own.anchors), np.random.default_rng(args.seed)
    found = anchors.darknet(boxes, count, rng) if args.method == "darknet" else anchors.search(boxes, count, rng)
    before, after = own.fit(boxes), anchors.fit(boxes, found)
    shape = f"{network.shape.width} x {network.shape.height}"
    print(f"{len(boxes)} objects in {len(dataset)} images, for an input of {shape}")
    print(f"avg IoU {before:.2%} with {len(own.used)} anchors of {config.path}")
    print(f"avg IoU {after:.2%} with {count} new ones")
    print("\n".join(own.told(found, boxes)))
    print(f"anchors = {anchors.text(found)}")
    print("counters_per_class = " + ", ".join(map(str, anchors.counters(dataset, len(dataset.names)))))
    if after - before < _WORTH:
        print(
            f"note: a gain of {after - before:.2%} is hardly worth it: the heads of given weights know the old anchors",
            file=sys.stderr,
        )
    if args.out:
        with replacing(args.out, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(own.rewritten(found))
    return 0
