#!/usr/bin/env python3
"""The table of docs/performance.md: our engines and other runtimes on a row of networks, in turn.

    python benchmarks/networks.py [CFG[:BATCH] ...] [--dtype bf16] [--threads 2] [--repeats 10] [--busy]

Prints a row of Markdown a network as it is measured: medians in milliseconds, network alone, and our time over
each peer's. Wants an idle machine; on one that others use, ``--busy`` measures CPU time on one thread, which compares
the arithmetic and leaves out how well it spreads over cores. OpenCV 5 reads no cfg files; put 4.x first on the
path: pip install --no-deps --target opencv4 "opencv-python-headless==4.*"; PYTHONPATH=opencv4 python ...
``--bare`` adds OpenVINO by itself, without this package: its own reading of an ONNX file, its own loop.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from darknet_py.network import Network

CFGS = pathlib.Path(__file__).parents[1] / "cfgs"
NETWORKS = ("yolov4-tiny.cfg", "yolov4-tiny.cfg:8", "yolov3-tiny.cfg", "yolov4.cfg", "yolov4-csp.cfg")
PEERS = ("torch", "plain", "openvino", "onnxruntime", "opencv")
BARE = "bare openvino"
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="CFG[:BATCH]", default=NETWORKS)
    parser.add_argument("--dtype", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--bare", action="store_true")
    args = parser.parse_args()
    if args.busy:
        args.threads = 1
        os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported
    args.peers = (*PEERS, BARE) if args.bare else PEERS
    print(f"| {args.dtype}, {args.threads} threads | GFLOP |", " | ".join(args.peers), "| torch / peer |")
    print("|" + "---|" * (len(args.peers) + 3))
    for network in args.networks:
        print(row(args, *network.partition(":")[::2]), flush=True)
    return 0


def row(args: argparse.Namespace, name: str, batch: str) -> str:
    """Measure one network."""
    import torch

    import darknet_py
    from darknet_py.inference import benchmark

    darknet_py.keep_freed_memory()
    torch.set_num_threads(args.threads)
    path = pathlib.Path(name) if pathlib.Path(name).exists() else CFGS / name
    network = darknet_py.load(path, device=args.device)
    for key, tensor in network.named_buffers():
        if key.endswith("rolling_variance"):  # Darknet starts with 0, of which values grow out of bounds
            tensor.fill_(1.0)
    x = torch.rand(int(batch or 1), *network.shape, device=args.device)
    with benchmark.peers(network, dtype=args.dtype) as runs:
        if args.bare:
            runs[BARE] = bare_openvino(network, x, args)
        found = benchmark.interleaved(runs, x, repeats=args.repeats, busy=args.busy)
    ms = {peer: statistics.median(times) for peer, times in found.items()}
    cells = [f"{ms[peer]:.1f}" if peer in ms else "-" for peer in args.peers]
    ratios = ", ".join(f"{peer} {ms['torch'] / ms[peer]:.2f}" for peer in args.peers[1:] if peer in ms)
    if args.bare:
        ratios += f"; openvino / {BARE} {ms['openvino'] / ms[BARE]:.2f}"
    size = f"{path.stem} {network.shape.width} b{len(x)}"
    return f"| {size} | {network.flops * len(x) / 1e9:.1f} | {' | '.join(cells)} | {ratios} |"


def bare_openvino(network: Network, x: Tensor, args: argparse.Namespace) -> Callable[[Tensor], Any]:
    """OpenVINO as its own documentation has it: compile_model for one shape, a request, numpy in and out."""
    import openvino

    import darknet_py

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "network.onnx")
        darknet_py.export(network, path, dynamic="batch")
        model = openvino.convert_model(path)
    model.reshape([*x.shape])
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": PRECISIONS[args.dtype]}
    request = openvino.Core().compile_model(model, "CPU", hints).create_infer_request()
    return lambda images: request.infer([images.numpy()])


if __name__ == "__main__":
    sys.exit(main())
