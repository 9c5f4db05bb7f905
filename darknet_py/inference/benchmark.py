"""Time a network layer by layer and against other runtimes, relative to the peak throughput of the machine.

Times are wall-clock times of the network alone, without images or NMS, and medians. Runs that are compared are
interleaved, see ``timing``. The peak throughput is the best of some large convolutions and a matrix product in the same
process.
"""

from __future__ import annotations

import functools
import importlib.util
import pathlib
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import cfg, weights
from ..errors import DarknetError
from ..network import Network
from .engines import create_engine, is_installed
from .fused_network import FusedNetwork
from .onednn_graphs import OneDNNGraphEngine
from .timing import Run, now, time_interleaved
from .weight_tracker import untracked

_CONVOLUTIONS = ((256, 64, 3), (512, 32, 3), (1024, 28, 1))  # channels in and out, height and width, kernel size
_MATRIX = 2048  # rows and columns of the matrix product


class StepTiming(NamedTuple):
    """The time of one step of a fused network.

    Attributes:
        layers: Numbers of the layers that the step computes.
        sections: Their sections, joined by ``+``.
        options: Options of the first of them.
        ms: Median time in milliseconds.
        gflops: Throughput in 10^9 floating-point operations per second.
    """

    layers: tuple[int, ...]
    sections: str
    options: str
    ms: float
    gflops: float


def benchmark_network(
    network: Network,
    x: Tensor,
    *,
    dtype: str = "fp32",
    repeats: int = 10,
    other_runtimes: bool = True,
    extra_runs: Mapping[str, Run] | None = None,
) -> dict[str, Any]:
    """Time a network by layer and by runtime.

    Args:
        network: The network.
        x: The input, float32 [batch, channels, height, width] in 0..1, on the network's device.
        dtype: Precision: ``fp32``, ``bf16`` or ``fp16``.
        repeats: Runs of which the median is taken.
        other_runtimes: Whether to time OpenVINO, ONNX Runtime, ncnn and OpenCV, where installed.
        extra_runs: More functions of ``x`` to time, by name.

    Returns:
        A report of plain values. ``gflop`` is the work of one run in 10^9 operations; ``peaks`` and ``peak_gflops`` the
        throughput of the machine; ``layers`` and ``runs`` hold the times, with ``of_peak`` their throughput relative
        to ``peak_gflops``.
    """
    peaks = measure_peaks(network, dtype=dtype)
    peak = max(peaks.values())
    gflop = network.flops * len(x) / 1e9
    steps = time_layers(network, x, dtype=dtype, repeats=repeats)
    total = sum(step.ms for step in steps)
    with open_runtimes(network, dtype=dtype, other_runtimes=other_runtimes) as runs:
        times = time_interleaved(runs | dict(extra_runs or {}), x, repeats=repeats)
    return {
        "input": list(x.shape),
        "dtype": dtype,
        "device": str(x.device),
        "threads": torch.get_num_threads(),
        "gflop": gflop,
        "peak_gflops": peak,
        "peaks": peaks,
        "layers": [{**step._asdict(), "share": step.ms / total, "of_peak": step.gflops / peak} for step in steps],
        "runs": {
            name: {
                "ms": statistics.median(ms),
                "min_ms": min(ms),
                "images_per_second": 1000 * len(x) / statistics.median(ms),
                "of_peak": gflop / statistics.median(ms) * 1000 / peak,
            }
            for name, ms in times.items()
        },
    }


def set_unit_variance(network: Network) -> None:
    """Set the rolling variances of a network with random weights to 1.

    Darknet initialises them with 0, which makes outputs overflow and may make arithmetic slower.
    """
    for name, tensor in network.named_buffers():
        if name.endswith("rolling_variance"):
            tensor.fill_(1.0)


def time_layers(network: Network, x: Tensor, *, dtype: str = "fp32", repeats: int = 10) -> list[StepTiming]:
    """Return the median time of every step of the fused network on ``x`` [batch, channels, height, width]."""
    fused = FusedNetwork(network, dtype=dtype)
    seconds: dict[int, list[float]] = {id(step.module): [] for step in fused.plan}
    starts: list[float] = []

    def before(_step: nn.Module, _inputs: Any) -> None:
        starts.append(now(x))

    def after(step: nn.Module, _inputs: Any, _y: Any) -> None:
        seconds[id(step)].append(now(x) - starts.pop())

    with torch.inference_mode():
        fused(x)
        for step in fused.plan:
            step.module.register_forward_pre_hook(before)
            step.module.register_forward_hook(after)
        for _ in range(repeats):
            fused(x)
        passes = max(1, len(seconds[id(fused.plan[0].module)]) // repeats)  # a large batch takes several
    timings = []
    for step in fused.plan:
        ms = 1000 * passes * statistics.median(seconds[id(step.module)])
        flops = sum(network[number].flops for number in step.layers) * len(x)
        sections = "+".join(network.config.sections[1 + number].name for number in step.layers)
        options = network[step.layers[0]].describe()
        timings.append(StepTiming(step.layers, sections, options, ms, flops / 1e6 / ms if ms else 0.0))
    return timings


def measure_peaks(network: nn.Module, *, dtype: str = "fp32", repeats: int = 5) -> dict[str, float]:
    """Return the throughput of large convolutions and a matrix product on the network's device, in GFLOP/s by name."""
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    torch_dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    peaks = {}
    with torch.inference_mode():
        for channels, side, size in _CONVOLUTIONS:
            x = torch.rand(1, channels, side, side, dtype=torch_dtype, device=device)
            x = x.to(memory_format=torch.channels_last)
            w = torch.rand(channels, channels, size, size, dtype=torch_dtype, device=device)
            w = w.to(memory_format=torch.channels_last)
            seconds = min(_time(functools.partial(F.conv2d, x, w, None, 1, size // 2), x, repeats))
            operations = 2.0 * (channels * side * size) ** 2
            peaks[f"convolution {channels} {size}x{size} on {side}x{side}"] = operations / seconds / 1e9
        a = torch.rand(_MATRIX, _MATRIX, dtype=torch_dtype, device=device)
        seconds = min(_time(functools.partial(torch.mm, a, a), a, repeats))
        peaks[f"matrix product {_MATRIX}"] = 2.0 * _MATRIX**3 / seconds / 1e9
    return peaks


@contextmanager
def open_runtimes(network: Network, *, dtype: str = "fp32", other_runtimes: bool = True) -> Iterator[dict[str, Run]]:
    """Yield functions that run the network, by name of the runtime, for each installed one that supports it."""
    names = ("torch", "graph", "plain", *(("openvino", "onnxruntime", "ncnn") if other_runtimes else ()))
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, Run] = {}
        for name in names:
            if is_installed(name) and (dtype == "fp32" or name in ("torch", "openvino")):
                try:
                    engine = create_engine(network, name, dtype=dtype)
                    if isinstance(engine, OneDNNGraphEngine):
                        engine.compute(torch.zeros(1, *network.shape))  # it compiles, or refuses, at the first call
                    runs[name] = untracked(engine)
                except DarknetError:  # the runtime does not support the network
                    continue
        has_opencv = other_runtimes and dtype == "fp32" and importlib.util.find_spec("cv2") is not None
        if has_opencv and (run := _open_opencv(network, pathlib.Path(folder))):
            runs["opencv"] = run
        yield runs


def _open_opencv(network: Network, folder: pathlib.Path) -> Run | None:
    """Read the network with OpenCV; None if it has no cfg reader (version 5) or does not support the network."""
    import cv2

    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        return None
    (folder / "a.cfg").write_text(cfg.dumps(network.config), encoding="utf-8")
    weights.save(network, folder / "a.weights", allow_non_finite=True)
    try:
        net = cv2.dnn.readNetFromDarknet(str(folder / "a.cfg"), str(folder / "a.weights"))
        names = net.getUnconnectedOutLayersNames()
        net.setInput(torch.zeros(1, *network.shape).numpy())
        net.forward(names)
    except cv2.error:
        return None
    cv2.setNumThreads(torch.get_num_threads())

    def run(x: Tensor) -> Any:
        net.setInput(x.numpy(force=True))
        return net.forward(names)

    return run


def _time(run: Callable[[], Any], x: Tensor, repeats: int) -> list[float]:
    """Seconds of each of ``repeats`` calls."""
    seconds = []
    for _ in range(repeats):
        start = now(x)
        run()
        seconds.append(now(x) - start)
    return seconds
