"""Time a network layer by layer and against other runtimes.

    darknet-py benchmark yolov4-tiny
    darknet-py benchmark my.cfg --imgsz 608 608 --batch 8 --dtype bf16
    darknet-py benchmark my.cfg my.weights --choose
    darknet-py benchmark my.onnx my.int8.onnx

Without WEIGHTS, random ones are used, which take the same time. "of peak" is relative to the best throughput of large
convolutions and a matrix product on this machine. The runtimes that are installed (OpenVINO, ONNX Runtime, ncnn,
OpenCV 4) are timed interleaved with this package; --darknet adds a C library. --choose makes the trial of
`--engine auto` now, for this network, size, batch and number of threads, and keeps its result. Exported files, one or
two, are timed interleaved, each in its own runtime."""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from .._table import format_table
from ..devices import find_device
from ..errors import DarknetError
from ..runtimes import is_model_file
from . import _model, _options, _records

if TYPE_CHECKING:
    from torch import Tensor

    from ..network import Network


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _options.add_model(parser)
    _options.add(parser, "--batch", default=1)
    _options.add(parser, "--repeats", default=10)
    _options.add(parser, "--threads", note="(default: all cores)")
    _options.add(parser, "--dtype", default="fp32")
    parser.add_argument(
        "--darknet",
        nargs="?",
        const="",
        metavar="LIBRARY",
        help="time C Darknet as well: path of libdarknet.so (default: the installed one)",
    )
    parser.add_argument("--choose", action="store_true", help="choose the engine of --engine auto only")
    parser.add_argument("--no-runtimes", action="store_true", help="do not time other runtimes")
    _options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Time the network and print the report."""
    import torch

    from ..compare import libdarknet
    from ..inference.benchmark import benchmark_network

    if args.threads:
        torch.set_num_threads(args.threads)
    if is_model_file(args.model):
        return _time_files(args)
    network = _load_network(args)
    x = torch.rand(args.batch, *network.shape, device=next(network.parameters()).device)
    if args.choose:
        return _choose(args, network, x)
    with ExitStack() as stack:
        extra_runs = {}
        if args.darknet is not None:
            library = args.darknet or libdarknet.find_library()
            extra_runs["darknet"] = stack.enter_context(libdarknet.serve_library(library, network, x))
        report = {"model": args.model} | benchmark_network(
            network,
            x,
            dtype=args.dtype,
            repeats=args.repeats,
            other_runtimes=not args.no_runtimes,
            extra_runs=extra_runs,
        )
    if args.json:
        _records.write_json(args.json, report)
    if args.json != "-":
        print("\n".join(_format_report(report)))
    return 0


def _choose(args: argparse.Namespace, network: Network, x: Tensor) -> int:
    """Make the trial of ``--engine auto``, keep and print its result."""
    from ..inference.auto_engine import AutoEngine
    from ..inference.engines import create_engine

    engine = create_engine(network, "auto", dtype=args.dtype)
    if not isinstance(engine, AutoEngine):
        raise DarknetError(f"{args.model}: only torch runs it (recurrent layers, or no CPU): nothing to choose")
    choice = engine.choose(x)
    if args.json:
        _records.write_json(args.json, dataclasses.asdict(choice))
    if args.json != "-":
        rows = [("engine", "median ms"), *((name, f"{ms:.2f}") for name, ms in choice.ms.items())]
        lines = format_table(rows, "<>") if choice.ms else []
        lines += [f"without {name}: {reason}" for name, reason in choice.left_out.items()]
        print("\n".join([*lines, f"engine auto: {choice.engine} for batches of {len(x)}"]))
    return 0


def _time_files(args: argparse.Namespace) -> int:
    """Time exported files in their runtimes, interleaved, and print a table."""
    import torch

    from ..inference.exported_model import ExportedModel
    from ..inference.timing import time_interleaved
    from ..processor import describe_vnni

    if args.choose or args.darknet is not None:
        raise DarknetError(f"{args.model}: is an exported file: expected cfg and weights for --choose and --darknet")
    paths = [args.model] if args.weights is None else [args.model, args.weights]
    models = {path: ExportedModel(path, size=tuple(args.size) if args.size else None) for path in paths}
    shapes = {model.network.shape for model in models.values()}
    if len(shapes) > 1:
        raise DarknetError(f"{paths[1]}: expected the input size of {paths[0]}")
    x = torch.rand(args.batch, *shapes.pop())
    times = {path: statistics.median(ms) for path, ms in time_interleaved(models, x, repeats=args.repeats).items()}
    if args.json:
        runs = {
            path: {"ms": times[path], "runtime": model.runtime, "weight_bits": model.weight_bits}
            for path, model in models.items()
        }
        report = {"input": list(x.shape), "threads": torch.get_num_threads(), "processor": describe_vnni()}
        _records.write_json(args.json, report | {"runs": runs})
    if args.json != "-":
        rows = [("file", "runtime", "weights", "median ms")]
        for path, model in models.items():
            rows.append((path, model.runtime, f"{model.weight_bits} bits", f"{times[path]:.2f}"))
        note = f"{torch.get_num_threads()} threads on a processor {describe_vnni()}"
        print("\n".join([*format_table(rows, "<<>"), note]))
    return 0


def _format_report(report: dict[str, Any]) -> list[str]:
    layers = [("layer", "operation", "options", "ms", "share", "GFLOP/s", "of peak")]
    for row in report["layers"]:
        numbers = "+".join(map(str, row["layers"]))
        speed = (f"{row['gflops']:.0f}", f"{row['of_peak']:.0%}") if row["gflops"] >= 1 else ("", "")
        layers.append((numbers, row["sections"], row["options"], f"{row['ms']:.3f}", f"{row['share']:.1%}", *speed))
    peaks = [(f"  {name}", f"{gflops:.0f} GFLOP/s") for name, gflops in report["peaks"].items()]
    runs = [("network alone, interleaved", "median ms", "minimum", "images/s", "of peak")]
    for name, row in report["runs"].items():
        times = (f"{row['ms']:.2f}", f"{row['min_ms']:.2f}")
        runs.append((name, *times, f"{row['images_per_second']:.1f}", f"{row['of_peak']:.0%}"))
    return [
        *format_table(layers, "><<>"),
        f"\n{report['gflop']:.2f} GFLOP per run; peak of this machine: {report['peak_gflops']:.0f} GFLOP/s",
        *format_table(peaks, "<>"),
        "",
        *format_table(runs, "<>"),
    ]


def _load_network(args: argparse.Namespace) -> Network:
    """Load the network with its weights, or with random ones if there are none."""
    from .. import loading
    from ..hub.model_files import find_cfg, is_cfg
    from ..inference.benchmark import set_unit_variance

    if args.weights or args.fetch:
        return _model.load_network(args, _model.find_files(args))
    cfg = args.model if is_cfg(args.model) else find_cfg(args.model)
    size = tuple(args.size) if args.size else None
    network = loading.load(
        cfg,
        size=size,
        dialect=args.dialect,
        strict=args.strict,
        max_bytes=args.max_bytes,
        allow_paths=args.allow_paths,
    )
    set_unit_variance(network)
    return network.to(find_device(args.device))
