"""What benchmarks/gpu.py measures: a network's inference and training, each until a deadline."""

from __future__ import annotations

import argparse
import copy
import functools
import pathlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from darknet_py.network import Network

CFGS = pathlib.Path(__file__).parents[1] / "cfgs"
PRECISIONS = {"fp32": ("fp32", False), "tf32": ("fp32", True), "bf16": ("bf16", False), "fp16": ("fp16", False)}
MODES: dict[str, dict[str, bool]] = {"plain": {}, "fused": {}, "graph": {"graph": True}, "compile": {"compile": True}}
_OPTIONS: dict[str, dict[str, Any]] = {
    "": {},
    ", channels_last": {"channels_last": True},
    ", gradient_checkpointing": {"gradient_checkpointing": True},
}
TRAINING = {
    f"{name}{suffix}": {"amp": amp} | options
    for name, amp in (("fp32", None), ("amp", "fp16"))
    for suffix, options in _OPTIONS.items()
}
_WARMUP = 3  # runs that are not timed
_SIDES = {"cuda": 8192, "cpu": 256}  # of the matrices whose product gives the peak
Row = dict[str, Any]


class OutOfTime(BaseException):
    """The time budget is spent; no Exception, so that torch's compiler lets it pass."""


class Deadline:
    """The end of a time budget, in seconds from now."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds that are left; negative afterwards."""
        return self.end - time.monotonic()

    def check(self) -> None:
        """Raise OutOfTime afterwards."""
        if self.remaining < 0:
            raise OutOfTime


Measure = Callable[[Deadline], Row]


@functools.cache
def load(cfg: str, size: int | None) -> Network:
    """Build a network with weights from a seed that keep activations near 1."""
    import torch

    import darknet_py
    from darknet_py.inference.benchmark import set_unit_variance

    torch.manual_seed(0)
    path = pathlib.Path(cfg) if pathlib.Path(cfg).exists() else CFGS / cfg
    network = darknet_py.load(path, size=(size, size) if size else None)
    set_unit_variance(network)
    return network


@functools.cache
def on_device(cfg: str, size: int | None, device: str) -> Network:
    """Return the network on the device."""
    return copy.deepcopy(load(cfg, size)).to(device)


@functools.cache
def reference(cfg: str, size: int | None, batch: int) -> tuple[Tensor, list[Tensor]]:
    """Return images, and the outputs of the first of them on the CPU."""
    import torch

    network = load(cfg, size)
    x = torch.rand(batch, *network.shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return x, network(x[:1])


def inference(args: argparse.Namespace) -> Iterator[tuple[Row, Measure]]:
    """Yield the rows of the inference table, and the function that measures each."""
    for precision in args.precisions:
        for cfg in args.networks:
            for batch in args.batches:
                for mode in ("plain", "fused", "graph"):
                    row = {"network": cfg, "batch": batch, "precision": precision, "mode": mode}
                    yield row, functools.partial(time_inference, row, args)


def compiled(args: argparse.Namespace) -> Iterator[tuple[Row, Measure]]:
    """Yield the row of ``torch.compile``: one image in fp16."""
    row = {"network": args.compile, "batch": 1, "precision": "fp16", "mode": "compile"}
    yield row, functools.partial(time_inference, row, args)


def time_inference(row: Row, args: argparse.Namespace, deadline: Deadline) -> Row:
    """Time one mode of execution of a network."""
    import torch

    network = load(row["network"], args.size)
    images, expected = reference(row["network"], args.size, max(args.batches))
    x = images[: row["batch"]].to(args.device)
    dtype, tensor_cores = PRECISIONS[row["precision"]]
    with tf32(tensor_cores):
        run = prepare(row, dtype, args)
        with torch.inference_mode():
            seconds = time_runs(lambda: run(x), args.device, _WARMUP, args.repeats, deadline)
            peak = measure_peak(args.device, row["precision"])
            outputs = [y[:1].float().cpu() for y in run(x)]
    ms = 1000 * statistics.median(seconds)
    gflops = network.flops * len(x) / 1e6 / ms
    return {
        "size": network.shape.width,
        "ms": ms,
        "images_per_second": 1000 * len(x) / ms,
        "of_peak": gflops / peak,
        "peak_tflops": peak / 1000,
        "rms": max(relative_rms(a, b) for a, b in zip(expected, outputs, strict=True)),
        "boxes": matching_boxes(network, expected, outputs),
    }


def prepare(row: Row, dtype: str, args: argparse.Namespace) -> Callable[[Tensor], Any]:
    """Return a function that runs the network of a row on float32 images."""
    import torch

    from darknet_py.inference.fused_network import optimise

    moved = on_device(row["network"], args.size, args.device)
    if row["mode"] != "plain":
        return optimise(moved, dtype=dtype, **MODES[row["mode"]])
    if dtype == "fp32":
        return moved
    low = {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    plain = copy.deepcopy(moved).to(low)
    return lambda x: plain(x.to(low))


def time_runs(run: Callable[[], object], device: str, warmup: int, repeats: int, deadline: Deadline) -> list[float]:
    """Return the seconds of each of ``repeats`` runs behind ``warmup`` others; of fewer, but one, if time ends."""
    seconds: list[float] = []
    for number in range(warmup + repeats):
        start = time.perf_counter()
        run()
        synchronize(device)
        if number >= warmup:
            seconds.append(time.perf_counter() - start)
        if deadline.remaining < 0 and seconds:
            break
        deadline.check()
    return seconds


def synchronize(device: str) -> None:
    """Wait for the device."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


@functools.cache
def measure_peak(device: str, precision: str) -> float:
    """Return the throughput of the product of two large matrices in GFLOP/s; TF32 is set by the caller."""
    import torch

    side = _SIDES[device]
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[PRECISIONS[precision][0]]
    a = torch.randn(side, side, dtype=torch.float32).to(device, dtype)
    seconds = []
    for _ in range(4):  # the first one is a warm-up
        synchronize(device)
        start = time.perf_counter()
        for _ in range(5):
            torch.mm(a, a)
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return 5 * 2 * side**3 / min(seconds[1:]) / 1e9


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


def training(args: argparse.Namespace) -> Iterator[tuple[Row, Measure]]:
    """Yield the rows of the training table, and the function that measures each."""
    for cfg in args.training:
        for name, options in TRAINING.items():
            yield {"network": cfg, "options": name}, functools.partial(time_training, cfg, options, args)


def time_training(cfg: str, options: Mapping[str, Any], args: argparse.Namespace, deadline: Deadline) -> Row:
    """Time an iteration of ``--training-batch`` images in the largest mini-batch that fits."""
    import torch

    on_device.cache_clear()  # the memory of inference
    subdivisions = 1
    while True:
        deadline.check()
        if args.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            return time_iterations(copy.deepcopy(load(cfg, args.size)), options, args, subdivisions, deadline)
        except torch.OutOfMemoryError:
            if subdivisions >= args.training_batch:
                raise
        subdivisions *= 2  # behind the handler, whose traceback keeps the tensors of the attempt


def time_iterations(
    network: Network, options: Mapping[str, Any], args: argparse.Namespace, subdivisions: int, deadline: Deadline
) -> Row:
    """Time iterations of ``subdivisions`` mini-batches, whose images are on the device."""
    import torch

    from darknet_py import Trainer, TrainOptions
    from darknet_py.training.gradient_checkpointing import checkpoint_activations

    allocated = torch.cuda.memory_allocated() if args.device == "cuda" else 0  # by what was measured before
    count = args.training_batch // subdivisions
    box = torch.tensor([[0.3, 0.4, 0.3, 0.5, 1.0], [0.8, 0.7, 0.2, 0.2, 0.0]])
    memory_format = torch.channels_last if options.get("channels_last") else torch.contiguous_format
    network.to(args.device, memory_format=memory_format)  # type: ignore[call-overload]
    x = torch.rand(count, *network.shape, device=args.device).contiguous(memory_format=memory_format)
    pairs = [(x, [box] * count)] * subdivisions
    trainer = Trainer(network, options=TrainOptions(amp=options["amp"], channels_last=False))
    with checkpoint_activations(network) if options.get("gradient_checkpointing") else nullcontext():
        seconds = time_runs(lambda: trainer.step(pairs), args.device, 2, max(2, args.repeats // 2), deadline)
    memory = torch.cuda.max_memory_allocated() - allocated if args.device == "cuda" else 0
    rate = count * subdivisions / statistics.median(seconds)
    return {"mini_batch": count, "images_per_second": rate, "peak_gb": memory / 1e9}


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
