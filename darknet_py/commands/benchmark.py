"""Measure how fast a network runs here, layer by layer and against other runtimes.

    darknet-py benchmark yolov4-tiny
    darknet-py benchmark my.cfg --imgsz 608 608 --batch 8 --dtype bf16 --json report.json

Without weights random ones are timed, which takes as long. 100 % is the best rate that a large convolution or
matrix product reached on this machine. Runtimes that are installed (OpenVINO, ONNX Runtime, OpenCV 4) are timed in
turn with ours; --darknet adds the C program's library."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .._table import format_table
from . import _model, _options, _output

if TYPE_CHECKING:
    from ..network import Network


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _options.add_model(parser)
    _options.add(parser, "--batch", default=1)
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="runs that the medians are of (10)")
    _options.add(parser, "--threads", note="(default: all cores)")
    _options.add(parser, "--dtype", default="fp32")
    parser.add_argument(
        "--darknet",
        nargs="?",
        const="",
        metavar="LIBRARY",
        help="time a C Darknet, too: its libdarknet.so; without a path the one that is installed",
    )
    parser.add_argument("--no-peers", action="store_true", help="leave other runtimes out")
    _options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    network = _network(args)
    report = _measured(args, network)
    if args.json:
        _output.write_json(args.json, report)
    if args.json != "-":
        print("\n".join(_lines(report)))
    return 0


def _lines(report: dict[str, Any]) -> list[str]:
    """The figures as tables."""
    layers = [("layer", "operation", "options", "ms", "share", "GFLOP/s", "of best")]
    for row in report["layers"]:
        numbers = "+".join(map(str, row["layers"]))
        speed = (f"{row['gflops']:.0f}", f"{row['of_best']:.0%}") if row["gflops"] >= 1 else ("", "")
        layers.append((numbers, row["name"], row["text"], f"{row['ms']:.3f}", f"{row['share']:.1%}", *speed))
    peaks = [(f"  {name}", f"{rate:.0f} GFLOP/s") for name, rate in report["rates"].items()]
    runs = [("network alone, interleaved", "median ms", "minimum", "images/s", "of best")]
    for name, row in report["runs"].items():
        times = (f"{row['ms']:.2f}", f"{row['least']:.2f}")
        runs.append((name, *times, f"{row['images']:.1f}", f"{row['of_best']:.0%}"))
    return [
        *format_table(layers, "><<>"),
        f"\n{report['gflop']:.2f} GFLOP; the machine's best is {report['best']:.0f} GFLOP/s:",
        *format_table(peaks, "<>"),
        "",
        *format_table(runs, "<>"),
    ]


def _network(args: argparse.Namespace) -> Network:
    """The network with weights, or with random ones that keep its values in bounds."""
    from .. import loading
    from ..hub.model_files import find

    if args.weights or args.fetch:
        return _model.load_network(args, _model.find_files(args))
    cfg = args.model if args.model.endswith(".cfg") else find(args.model).cfg
    size = tuple(args.size) if args.size else None
    network = loading.load(cfg, size=size, dialect=args.dialect, strict=args.strict)
    for name, tensor in network.named_buffers():
        if name.endswith("rolling_variance"):
            tensor.fill_(1.0)
    return network.to(_model.resolve_device(args.device))


def _measured(args: argparse.Namespace, network: Network) -> dict[str, Any]:
    """All figures, as ``--json`` prints them."""
    from contextlib import ExitStack
    from statistics import median

    import torch

    from ..compare import libdarknet
    from ..inference import benchmark

    device = next(network.parameters()).device
    x = torch.rand(args.batch, *network.shape, device=device)
    rates = benchmark.rates(network, dtype=args.dtype)
    best, gflop = max(rates.values()), network.flops * args.batch / 1e9
    rows = benchmark.layers(network, x, dtype=args.dtype, repeats=args.repeats)
    total = sum(row.ms for row in rows)
    with ExitStack() as stack:
        runs = stack.enter_context(benchmark.peers(network, dtype=args.dtype, others=not args.no_peers))
        if args.darknet is not None:
            library = args.darknet or libdarknet.find_library()
            runs["darknet"] = stack.enter_context(libdarknet.serve_library(library, network, x))
        found = benchmark.interleaved(runs, x, repeats=args.repeats)
    return {
        "model": args.model,
        "input": list(x.shape),
        "dtype": args.dtype,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "gflop": gflop,
        "best": best,
        "rates": rates,
        "layers": [
            {**row._asdict(), "gflops": row.rate, "share": row.ms / total, "of_best": row.rate / best} for row in rows
        ],
        "runs": {
            name: {
                "ms": median(times),
                "least": min(times),
                "images": 1000 * args.batch / median(times),
                "of_best": gflop / median(times) * 1000 / best,
            }
            for name, times in found.items()
        },
    }
