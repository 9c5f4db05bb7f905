#!/usr/bin/env python3
"""Time this package and other runtimes on several networks: the table of docs/performance.md.

    python benchmarks/networks.py [CFG[:BATCH] ...] [--dtype bf16] [--threads 2] [--repeats 10] [--busy]

Prints a row of Markdown per network: median milliseconds of the network alone, interleaved, and the ratios of this
package's time to that of the fastest other program, each the median over the rounds. Needs an idle machine; on a busy
one, ``--busy`` measures CPU time on one thread, which compares the arithmetic but not the scaling over cores. OpenCV 5
cannot read cfg files; put 4.x first on the path: pip install --no-deps --target opencv4
"opencv-python-headless==4.*"; PYTHONPATH=opencv4 python ...
``--bare`` adds OpenVINO without this package's engine, as its own documentation uses it. ``auto`` is the engine of that
name, whose trial is made before the row.
"""

from __future__ import annotations

import argparse
import copy
import os
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from darknet_py.network import Network

CFGS = pathlib.Path(__file__).parents[1] / "cfgs"
SHARED = pathlib.Path(__file__).parents[2] / "shared" / "data" / "networks"  # small networks, where there is the folder
NETWORKS = (
    *("yolov4-tiny.cfg", "yolov4-tiny.cfg:8", "yolov3-tiny.cfg", "yolov4.cfg", "yolov4-csp.cfg", "yolov7.cfg"),
    *map(str, sorted(SHARED.glob("*.cfg"))),
)
AUTO = "auto"
RUNTIMES = ("torch", "graph", AUTO, "plain", "openvino", "onnxruntime", "ncnn", "opencv")
PEERS = ("openvino", "onnxruntime", "ncnn", "opencv")
OURS = ("torch", "graph", AUTO)
BARE = "bare openvino"
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def main() -> int:
    """Time the networks and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="CFG[:BATCH]", default=NETWORKS)
    parser.add_argument("--dtype", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each runtime in a round, at least")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--bare", action="store_true")
    args = parser.parse_args()
    if args.busy:
        args.threads = 1
        os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported
    args.runtimes = (*RUNTIMES, BARE) if args.bare else RUNTIMES
    columns = (*args.runtimes, "fastest other", "auto takes", *(f"{name} / fastest" for name in OURS))
    print(f"| {args.dtype}, {args.threads} threads | GFLOP |", " | ".join(columns), "|")
    print("|" + "---|" * (len(columns) + 2))
    for network in args.networks:
        print(row(args, *network.partition(":")[::2]), flush=True)
    return 0


def row(args: argparse.Namespace, cfg: str, batch: str) -> str:
    """Time one network and return its row."""
    import torch

    import darknet_py
    from darknet_py.inference import benchmark
    from darknet_py.inference.auto_engine import AutoEngine
    from darknet_py.inference.engines import create_engine
    from darknet_py.inference.timing import time_interleaved

    darknet_py.keep_freed_memory()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)  # for weights that are the same in each run, and converted once
    path = pathlib.Path(cfg) if pathlib.Path(cfg).exists() else CFGS / cfg
    network = darknet_py.load(path, device=args.device)
    benchmark.set_unit_variance(network)
    x = torch.rand(int(batch or 1), *network.shape, device=args.device)
    with benchmark.open_runtimes(network, dtype=args.dtype) as runs:
        # As in a detector made from files, whose weights nobody else can change.
        engine = create_engine(copy.deepcopy(network), AUTO, dtype=args.dtype, reload=lambda: copy.deepcopy(network))
        chosen = "-"
        if isinstance(engine, AutoEngine):
            chosen = engine.choose(x).engine
            runs[AUTO] = engine
        if args.bare:
            runs[BARE] = bare_openvino(network, x, args)
        times = time_interleaved(runs, x, repeats=args.repeats, seconds=args.seconds, cpu_time=args.busy)
    ms = {name: statistics.median(values) for name, values in times.items()}
    cells = [f"{ms[name]:.1f}" if name in ms else "-" for name in args.runtimes]
    peers = [name for name in (*PEERS, BARE) if name in ms]
    fastest = min(peers, key=lambda name: ms[name]) if peers else "torch"
    ratios = [f"{ratio(times[name], times[fastest]):.2f}" if name in ms else "-" for name in OURS]
    size = f"{path.stem} {network.shape.width} b{len(x)}"
    return f"| {size} | {network.flops * len(x) / 1e9:.1f} | {' | '.join((*cells, fastest, chosen, *ratios))} |"


def ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    """Return the median of the ratios of each round, whose times were measured within the same seconds."""
    return statistics.median(a / b for a, b in zip(ours, others, strict=True))


def bare_openvino(network: Network, x: Tensor, args: argparse.Namespace) -> Callable[[Tensor], Any]:
    """Return OpenVINO as its documentation uses it: compile_model for one shape, an infer request, numpy in and out."""
    import darknet_py
    from darknet_py.runtimes.openvino_models import get_core

    core = get_core()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "network.onnx")
        darknet_py.export(network, path, dynamic="batch")
        model = core.read_model(path)
    model.reshape([*x.shape])
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": PRECISIONS[args.dtype]}
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    return lambda images: request.infer([images.numpy()])


if __name__ == "__main__":
    sys.exit(main())
