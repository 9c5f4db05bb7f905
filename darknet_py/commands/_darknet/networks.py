"""Numbers of a network and of its weights: ``ops``, ``speed``, ``statistics``, ``print``, ``visualize``; ``help``."""

from __future__ import annotations

import argparse
import time

from ..._table import format_table
from ..._version import __version__
from ...errors import DataError
from . import function, functions, load_network
from .arguments import usage


@function("ops", "cfg")
def run_ops(args: argparse.Namespace) -> int:
    """Print the number of floating-point operations: ops CFG."""
    from ...conversion.weight_tools import count_operations

    args.weights = None
    count = count_operations(load_network(args))
    print(f"Floating Point Operations: {count}")
    print(f"Floating Point Operations: {count / 1e9:.2f} Bn")
    return 0


@function("speed", "cfg tics?")
def run_speed(args: argparse.Namespace) -> int:
    """Time a network with random weights on a blank image: speed CFG TICS; TICS is the number of runs (1000)."""
    import torch

    from ...conversion.weight_tools import count_operations

    if args.tics is not None and not args.tics.isdecimal():
        raise DataError(f"TICS: expected a number, got {args.tics!r}")
    args.weights = None
    network = load_network(args)
    x = torch.zeros(1, *network.shape, device=next(network.parameters()).device)
    tics = int(args.tics or 0) or 1000
    with torch.inference_mode():
        started = time.perf_counter()
        for _ in range(tics):
            outputs = network(x)
        outputs[-1].cpu()
        seconds = time.perf_counter() - started
    operations = count_operations(network)
    print(f"\n{tics} evals, {seconds:f} Seconds")
    print(f"Floating Point Operations: {operations / 1e9:.2f} Bn")
    print(f"FLOPS: {operations / 1e9 * tics / seconds:.2f} Bn")
    print(f"Speed: {seconds / tics:f} sec/eval")
    print(f"Speed: {tics / seconds:f} Hz")
    return 0


@function("statistics", "cfg weights?")
def run_statistics(args: argparse.Namespace) -> int:
    """Print mean and variance of the arrays of fully connected layers with batch norm: statistics CFG WEIGHTS."""
    from ...conversion.weight_tools import statistics_lines

    for line in statistics_lines(load_network(args)):
        print(line)
    return 0


@function("print", "cfg weights layer")
def run_print(args: argparse.Namespace) -> int:
    """Print the weights of a convolution, a line for each filter: print CFG WEIGHTS N."""
    from ...conversion.weight_tools import filter_lines

    if not args.layer.isdecimal():
        raise DataError(f"print: expected a number of a layer, got {args.layer!r}")
    for line in filter_lines(load_network(args), int(args.layer)):
        print(line)
    return 0


@function("version")
def run_version(_args: argparse.Namespace) -> int:
    """Print the version of this package."""
    print(f"darknet-py {__version__}")
    return 0


@function("help")
def run_help(_args: argparse.Namespace) -> int:
    """Print Darknet's command lines; ``darknet-py --help`` prints the package's own commands."""
    rows = [(f" {chosen.name} {usage(chosen.files)}".rstrip(), chosen.summary) for chosen in functions().values()]
    print("\n".join(["Darknet's command lines (darknet-py --help: the package's own):", "", *format_table(rows, "<")]))
    return 0


@function("visualize", "cfg weights?")
def run_visualize(args: argparse.Namespace) -> int:
    """Draw the filters of the first convolution; darknet-py visualize CFG WEIGHTS --layer all draws each, as Darknet.

    Writes visualized.png.
    """
    from ...visualization import visualize
    from ..visualize import OUTPUT, write_sheets

    (sheet,) = visualize(load_network(args)).values()
    write_sheets({OUTPUT: sheet})
    return 0


def _add_imtest(name: str) -> None:
    @function(name, "image", "-max_pixels")
    def run_imtest(args: argparse.Namespace) -> int:
        import numpy as np

        from ...images.reading import read_image

        pixels = read_image(args.image, max_pixels=args.max_pixels).astype(np.float64) / 255
        print(f"L2 Norm: {np.sqrt((pixels**2).sum()):f}")
        return 0

    run_imtest.__doc__ = f"Print the L2 norm of an image: {name} IMAGE. Darknet also shows distorted copies in windows."


for _name in ("imtest", "test"):
    _add_imtest(_name)
