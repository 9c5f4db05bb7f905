"""How fast a network runs here: layer by layer, against other runtimes, and against what the machine can do.

Times are those of the network alone, wall clock. What is compared runs in turn - a, b, c, a, b, c - so that
a machine that slows down slows down all of them, and medians are taken. Between turns there is a pause, because
the threads of most runtimes wait for work by spinning, on the cores that the next one needs. 100 % is the best rate
that a large convolution or matrix product reached in the same run.
"""

from __future__ import annotations

import functools
import importlib.util
import pathlib
import statistics
import tempfile
import time
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

_LARGE = ((256, 64, 3), (512, 32, 3), (1024, 28, 1))  # channels in and out, side of the map, side of the kernel
_MATRIX = 2048
_PAUSE = 0.05  # seconds until idle threads of a runtime have gone to sleep


class Row(NamedTuple):
    """A step of the optimised network: its layers, milliseconds, and 10^9 operations a second."""

    layers: tuple[int, ...]
    name: str
    text: str
    ms: float
    rate: float


def layers(network: Network, x: Tensor, *, dtype: str = "fp32", repeats: int = 10) -> list[Row]:
    """Time every step of the optimised network on ``x`` [batch, channels, height, width]; medians."""
    fast = FusedNetwork(network, dtype=dtype)
    seconds: dict[int, list[float]] = {id(step.module): [] for step in fast.plan}
    started: list[float] = []

    def before(_step: nn.Module, _inputs: Any) -> None:
        started.append(_now(x))

    def after(step: nn.Module, _inputs: Any, _y: Any) -> None:
        seconds[id(step)].append(_now(x) - started.pop())

    with torch.inference_mode():
        fast(x)
        for step in fast.plan:
            step.module.register_forward_pre_hook(before)
            step.module.register_forward_hook(after)
        for _ in range(repeats):
            fast(x)
        parts = max(1, len(seconds[id(fast.plan[0].module)]) // repeats)
    rows = []
    for step in fast.plan:
        ms = 1000 * parts * statistics.median(seconds[id(step.module)])
        flops = sum(network[number].flops for number in step.layers) * len(x)
        names = "+".join(network.config.sections[1 + number].name for number in step.layers)
        rows.append(Row(step.layers, names, network[step.layers[0]].describe(), ms, flops / 1e6 / ms if ms else 0.0))
    return rows


def rates(network: Network, *, dtype: str = "fp32", repeats: int = 5) -> dict[str, float]:
    """What the network's device reaches in large convolutions and a matrix product: 10^9 operations a second."""
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    found = {}
    with torch.inference_mode():
        for channels, side, size in _LARGE:
            x = torch.rand(1, channels, side, side, dtype=kind, device=device).to(memory_format=torch.channels_last)
            w = torch.rand(channels, channels, size, size, dtype=kind, device=device)
            w = w.to(memory_format=torch.channels_last)
            seconds = min(_timed(functools.partial(F.conv2d, x, w, None, 1, size // 2), x, repeats))
            operations = 2.0 * (channels * side * size) ** 2
            found[f"convolution {channels} {size}x{size} on {side}x{side}"] = operations / seconds / 1e9
        a = torch.rand(_MATRIX, _MATRIX, dtype=kind, device=device)
        found[f"matrix product {_MATRIX}"] = (
            2.0 * _MATRIX**3 / min(_timed(functools.partial(torch.mm, a, a), a, repeats)) / 1e9
        )
    return found


@contextmanager
def peers(
    network: Network, *, dtype: str = "fp32", others: bool = True
) -> Iterator[dict[str, Callable[[Tensor], Any]]]:
    """Our own engines and, with ``others``, the runtimes that are installed and can run the network, by name."""
    with tempfile.TemporaryDirectory() as scratch:
        runs: dict[str, Callable[[Tensor], Any]] = {}
        for name in ("torch", "plain", *(("openvino", "onnxruntime") if others else ())):
            if is_installed(name) and (dtype == "fp32" or name in ("torch", "openvino")):
                try:
                    runs[name] = create_engine(network, name, dtype=dtype)
                except DarknetError:  # one that cannot take this network is left out of the table
                    continue
        opencv = others and dtype == "fp32" and importlib.util.find_spec("cv2") is not None
        if opencv and (run := _opencv(network, pathlib.Path(scratch))):
            runs["opencv"] = run
        yield runs


def interleaved(
    runs: Mapping[str, Callable[[Tensor], Any]], x: Tensor, *, repeats: int = 10, warm: int = 2, busy: bool = False
) -> dict[str, list[float]]:
    """Milliseconds of every run in turn on ``x``, ``repeats`` of each after ``warm`` that do not count.

    A turn is a pause, a run that wakes threads and caches, and one that counts.
    ``busy``: the process's CPU time instead of the wall clock's, for one thread on a machine that others use.
    """
    clock = time.process_time if busy else time.perf_counter
    found: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for number in range(warm + repeats):
            for name, run in runs.items():
                time.sleep(_PAUSE)
                seconds = _timed(functools.partial(run, x), x, 2, clock)[-1]
                if number >= warm:
                    found[name].append(1000 * seconds)
    return found


def _opencv(network: Network, folder: pathlib.Path) -> Callable[[Tensor], Any] | None:
    """OpenCV's own reader of cfg and weights: up to version 4, and only what it knows of."""
    import cv2

    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        return None
    (folder / "a.cfg").write_text(cfg.dumps(network.config), encoding="utf-8")
    weights.save(network, folder / "a.weights")
    try:
        read = cv2.dnn.readNetFromDarknet(str(folder / "a.cfg"), str(folder / "a.weights"))
        names = read.getUnconnectedOutLayersNames()
        read.setInput(torch.zeros(1, *network.shape).numpy())
        read.forward(names)
    except cv2.error:
        return None
    cv2.setNumThreads(torch.get_num_threads())

    def run(x: Tensor) -> Any:
        read.setInput(x.numpy())
        return read.forward(names)

    return run


def _timed(
    run: Callable[[], Any], x: Tensor, repeats: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    seconds = []
    for _ in range(repeats):
        started = _now(x, clock)
        run()
        seconds.append(_now(x, clock) - started)
    return seconds


def _now(x: Tensor, clock: Callable[[], float] = time.perf_counter) -> float:
    """The clock, once the device has done what it was given."""
    if x.is_cuda:
        torch.cuda.synchronize()
    return clock()
