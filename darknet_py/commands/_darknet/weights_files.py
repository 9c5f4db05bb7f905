"""Weights files made from others: ``average``, ``partial``, ``oneoff``, ``rescale``, ``rgbgr``, ``normalize``, ..."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from ...errors import DataError
from .. import _model
from . import function

if TYPE_CHECKING:
    from ...network import Network


@function("average", "cfg output weights*")
def run_average(args: argparse.Namespace) -> int:
    """Average weights files: average CFG OUTPUT WEIGHTS WEIGHTS ..."""
    from ...conversion.weight_tools import average

    if not args.weights:
        raise DataError("average: expected WEIGHTS after OUTPUT")
    network = average(args.cfg, args.weights)
    _save(network, args.output)
    return 0


@function("partial", "cfg weights output layers")
def run_partial(args: argparse.Namespace) -> int:
    """Write the first N layers of a weights file: partial CFG WEIGHTS OUTPUT N."""
    from ... import weights

    if not args.layers.isdecimal():
        raise DataError(f"partial: expected a number of layers, got {args.layers!r}")
    upto = int(args.layers)
    network = _load(args, upto=upto)
    print(f"Saving weights to {args.output}", file=sys.stderr)
    weights.save(network, args.output, upto=upto, seen=0)
    return 0


@function("oneoff", "cfg weights output")
def run_oneoff(args: argparse.Namespace) -> int:
    """Make a detector's file from a classifier's, as for YOLO9000: oneoff CFG WEIGHTS OUTPUT.

    The filters of the classifier's last convolution become those of the classes of each of three anchors. What it has
    no filters for, box and objectness, gets random weights: train the result.
    """
    from ...conversion.weight_tools import load_classes_into_detector

    network = load_classes_into_detector(args.cfg, args.weights)
    print(len(dict(network[len(network.layers) - 2].stored())["biases"]))
    _save(network, args.output)
    return 0


@function("oneoff2", "cfg weights output layer")
def run_oneoff2(args: argparse.Namespace) -> int:
    """Load a file from the first layer and again from layer N, as far as it reaches: oneoff2 CFG WEIGHTS OUTPUT N.

    For networks with two equal branches. Layers that it does not reach get random weights.
    """
    from ...conversion.weight_tools import load_twice

    if not args.layer.isdecimal():
        raise DataError(f"oneoff2: expected a number of a layer, got {args.layer!r}")
    _save(load_twice(args.cfg, args.weights, int(args.layer)), args.output)
    return 0


def _add(name: str, summary: str) -> None:
    @function(name, "cfg weights output")
    def run(args: argparse.Namespace) -> int:
        from ...conversion import weight_tools

        network = _load(args)
        weight_tools.TOOLS[name](network)
        _save(network, args.output)
        return 0

    run.__doc__ = f"{summary}: {name} CFG WEIGHTS OUTPUT."


_add("rescale", "Adapt the first convolution, made for inputs in -1..1, to inputs in 0..1")
_add("rgbgr", "Swap red and blue in the filters of the first convolution")
_add("reset", "Fold batch norm into the weights, and keep it with scale 1, mean 0 and variance 1")
_add("denormalize", "Fold batch norm into the weights, and write a file without it, for a cfg without batch_normalize")
_add("normalize", "Add batch norm with scale 1, mean 0 and variance 0 to layers without it")


def _load(args: argparse.Namespace, **options: Any) -> Network:
    return _model.load(args.cfg, args.weights, allow_non_finite=False, advice="", **options)


def _save(network: Network, path: str) -> None:
    from ... import weights

    print(f"Saving weights to {path}", file=sys.stderr)
    weights.save(network, path)
