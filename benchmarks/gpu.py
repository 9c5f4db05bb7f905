#!/usr/bin/env python3
"""Time inference and training on a GPU: the tables of docs/performance.md, with a time budget for each part.

    python benchmarks/gpu.py FOLDER [--networks CFG ...] [--batches 1 8 32] [--device cuda]

FOLDER gets results.json and results.md. A measurement that begins after its part's budget is skipped by name, and one
that fails is reported with its error, so that no minute of a GPU is lost. Weights are drawn from a seed. yolov7.cfg is
part of AlexeyAB's repository: give its path.

Inference: median milliseconds, images per second, throughput relative to the best of some large convolutions and a
matrix product in the same precision, RMS of the difference from the CPU's outputs relative to their RMS, and the share
of the CPU's boxes that have one with an IoU above 0.9. Training: images per second and peak memory of iterations on
random images and targets in the largest mini-batch that fits.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import pathlib
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from darknet_py.network import Network

CFGS = pathlib.Path(__file__).parents[1] / "cfgs"
PRECISIONS = {"fp32": ("fp32", False), "tf32": ("fp32", True), "bf16": ("bf16", False), "fp16": ("fp16", False)}
MODES: dict[str, dict[str, bool]] = {"fused": {}, "graph": {"graph": True}, "compile": {"compile": True}}
TRAINING: dict[str, dict[str, Any]] = {
    "fp32": {},
    "amp": {"amp": "fp16"},
    "amp, channels_last": {"amp": "fp16", "channels_last": True},
    "amp, gradient_checkpointing": {"amp": "fp16", "gradient_checkpointing": True},
}
Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--networks", nargs="+", metavar="CFG", default=["yolov4-tiny.cfg", "yolov4.cfg"])
    parser.add_argument("--training", nargs="+", metavar="CFG", default=["yolov4-tiny.cfg", "yolov4.cfg"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--training-batch", type=int, default=64)
    parser.add_argument("--size", type=int, help="width and height instead of the cfg's")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--inference-seconds", type=float, default=150)
    parser.add_argument("--compile-seconds", type=float, default=60)
    parser.add_argument("--training-seconds", type=float, default=120)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args(arguments)

    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device", file=sys.stderr)
        return 1
    warnings.simplefilter("ignore")
    card = torch.cuda.get_device_name() if args.device == "cuda" else args.device
    results: dict[str, Any] = {"card": card, "torch": torch.__version__, "cuda": torch.version.cuda}
    parts: tuple[tuple[str, float, Iterator[tuple[Row, Callable[[], Row]]]], ...] = (
        ("inference", args.inference_seconds, inference(args)),
        ("compile", args.compile_seconds, compiled(args)),
        ("training", args.training_seconds, training(args)),
    )
    args.folder.mkdir(parents=True, exist_ok=True)
    for part, seconds, measurements in parts:
        results[part] = []
        deadline = time.monotonic() + seconds
        for row, measure in measurements:
            results[part].append(row | attempt(measure, deadline))
            write(args.folder, results)  # what is measured is kept if the run is killed
    print((args.folder / "results.md").read_text())
    return 0


def attempt(measure: Callable[[], Row], deadline: float) -> Row:
    """Measure, or say why not."""
    if time.monotonic() > deadline:
        return {"skipped": "out of time"}
    try:
        return measure()
    except Exception as error:  # one precision or mode must not end the run
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}


def load(cfg: str, args: argparse.Namespace) -> Network:
    """Build a network with weights from a seed that keep activations near 1."""
    import torch

    import darknet_py
    from darknet_py.inference.benchmark import set_unit_variance

    torch.manual_seed(0)
    path = pathlib.Path(cfg) if pathlib.Path(cfg).exists() else CFGS / cfg
    network = darknet_py.load(path, size=(args.size, args.size) if args.size else None)
    set_unit_variance(network)
    return network


def inference(args: argparse.Namespace) -> Iterator[tuple[Row, Callable[[], Row]]]:
    """Yield the rows of the inference table, and the function that measures each."""
    import torch

    for cfg in args.networks:
        network = load(cfg, args)
        moved = copy.deepcopy(network).to(args.device)
        for batch in args.batches:
            x = torch.rand(batch, *network.shape)
            with torch.inference_mode():
                expected = network(x[:1])
            for precision in args.precisions:
                for mode in ("plain", "fused", "graph"):
                    row = {"network": cfg, "size": network.shape.width, "batch": batch, "precision": precision}
                    measure = functools.partial(time_inference, network, moved, x, expected, precision, mode, args)
                    yield row | {"mode": mode}, measure


def compiled(args: argparse.Namespace) -> Iterator[tuple[Row, Callable[[], Row]]]:
    """Yield the row of ``torch.compile``: the last network, one image, the lowest precision."""
    import torch

    cfg, precision = args.networks[-1], args.precisions[-1]
    network = load(cfg, args)
    x = torch.rand(1, *network.shape)
    with torch.inference_mode():
        expected = network(x)
    row = {"network": cfg, "size": network.shape.width, "batch": 1, "precision": precision, "mode": "compile"}
    moved = copy.deepcopy(network).to(args.device)
    yield row, functools.partial(time_inference, network, moved, x, expected, precision, "compile", args)


def time_inference(
    network: Network,
    moved: Network,
    x: Tensor,
    expected: list[Tensor],
    precision: str,
    mode: str,
    args: argparse.Namespace,
) -> Row:
    """Time one mode of execution; ``moved`` is ``network`` on the device, ``expected`` its outputs for one image."""
    from darknet_py.inference import benchmark
    from darknet_py.inference.fused_network import optimise

    dtype, tensor_cores = PRECISIONS[precision]
    with tf32(tensor_cores):
        if mode == "plain" and dtype != "fp32":
            return {"skipped": "the plain network is float32"}
        run: Callable[[Tensor], Any] = moved if mode == "plain" else optimise(moved, dtype=dtype, **MODES[mode])
        on_device = x.to(args.device)
        (times,) = benchmark.time_interleaved({mode: run}, on_device, repeats=args.repeats, warmup=3).values()
        peak = measure_peak(args.device, precision)
        outputs = [y[:1].float().cpu() for y in run(on_device)]
    ms = statistics.median(times)
    gflops = network.flops * len(x) / 1e6 / ms
    return {
        "ms": ms,
        "images_per_second": 1000 * len(x) / ms,
        "of_peak": gflops / peak,
        "peak_tflops": peak / 1000,
        "rms": max(relative_rms(a, b) for a, b in zip(expected, outputs, strict=True)),
        "boxes": matching_boxes(network, expected, outputs),
    }


@functools.cache
def measure_peak(device: str, precision: str) -> float:
    """Return the peak throughput of the device in GFLOP/s; TF32 is set by the caller."""
    import torch

    from darknet_py.inference import benchmark

    parameter = torch.nn.Linear(1, 1, device=device)
    return max(benchmark.measure_peaks(parameter, dtype=PRECISIONS[precision][0]).values())


def relative_rms(a: Tensor, b: Tensor) -> float:
    """Return the RMS of the difference relative to that of ``a``."""
    return float((a - b).square().mean().sqrt() / a.square().mean().sqrt())


def matching_boxes(network: Network, expected: list[Tensor], outputs: list[Tensor]) -> float:
    """Return the share of the expected boxes of highest score that have one with an IoU above 0.9."""
    from darknet_py.boxes import iou
    from darknet_py.layers import DecodeOptions
    from darknet_py.postprocess import decode

    size = (network.shape.width, network.shape.height)
    boxes, others = (decode(network, maps, size, DecodeOptions(0.25))[0] for maps in (expected, outputs))
    best = boxes.probs.amax(dim=1).argsort(descending=True)[:100]
    found = iou(boxes.boxes[best, None], others.boxes[None]) > 0.9
    return float(found.any(dim=1).float().mean()) if len(best) else 1.0


def training(args: argparse.Namespace) -> Iterator[tuple[Row, Callable[[], Row]]]:
    """Yield the rows of the training table, and the function that measures each."""
    for cfg in args.training:
        for name, options in TRAINING.items():
            yield {"network": cfg, "options": name}, functools.partial(time_training, cfg, options, args)


def time_training(cfg: str, options: Mapping[str, Any], args: argparse.Namespace) -> Row:
    """Time an iteration of ``--training-batch`` images in the largest mini-batch that fits."""
    import torch

    network = load(cfg, args).to(args.device)
    subdivisions = 1
    while True:
        try:
            return time_iterations(network, options, args, subdivisions)
        except torch.OutOfMemoryError:
            if subdivisions >= args.training_batch:
                raise
            network.zero_grad()
            torch.cuda.empty_cache()
            subdivisions *= 2


def time_iterations(network: Network, options: Mapping[str, Any], args: argparse.Namespace, subdivisions: int) -> Row:
    """Time iterations of ``subdivisions`` mini-batches."""
    import torch

    from darknet_py import Trainer, TrainOptions
    from darknet_py.training.gradient_checkpointing import checkpoint_activations

    count = args.training_batch // subdivisions
    box = torch.tensor([[0.3, 0.4, 0.3, 0.5, 1.0], [0.8, 0.7, 0.2, 0.2, 0.0]])
    pairs = [(torch.rand(count, *network.shape), [box] * count) for _ in range(subdivisions)]
    memory_format = torch.channels_last if options.get("channels_last") else torch.contiguous_format
    network.to(memory_format=memory_format)  # type: ignore[call-overload]
    trainer = Trainer(network, options=TrainOptions(amp=options.get("amp")))
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []

    def iterate() -> None:
        for _ in range(max(2, args.repeats // 2)):
            start = time.perf_counter()
            trainer.step(pairs)
            if args.device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)

    if options.get("gradient_checkpointing"):
        with checkpoint_activations(network):
            iterate()
    else:
        iterate()
    memory = torch.cuda.max_memory_allocated() if args.device == "cuda" else 0
    rate = args.training_batch / statistics.median(seconds[1:])
    return {"mini_batch": count, "images_per_second": rate, "peak_gb": memory / 1e9}


def write(folder: pathlib.Path, results: Mapping[str, Any]) -> None:
    """Write results.json, and the same as tables."""
    (folder / "results.json").write_text(json.dumps(results, indent=1))
    lines = [f"{results['card']}, torch {results['torch']}, CUDA {results['cuda']}"]
    for part, rows in results.items():
        if isinstance(rows, list) and rows:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            lines += ["", f"## {part}", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
            lines += [f"| {' | '.join(cell(row.get(column, '')) for column in columns)} |" for row in rows]
    (folder / "results.md").write_text("\n".join(lines) + "\n")


def cell(value: Any) -> str:
    """Format a number with three digits."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in float32 convolutions and matrix products inside the block."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


if __name__ == "__main__":
    sys.exit(main())
