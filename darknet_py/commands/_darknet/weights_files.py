"""Weights files made from others: ``average``, ``partial``, ``rescale``, ``rgbgr``, ``reset``, ``normalize``, ..."""

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
