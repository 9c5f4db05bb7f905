#!/usr/bin/env python3
"""Measure mAP and speed of an int8 network on the CPU.

    python benchmarks/int8.py CFG WEIGHTS DATA [--calibration 32] [--threads 2] [--repeats 10]

The network is exported to ONNX and quantised statically by onnxruntime.quantization (weights per filter, activations
per tensor, ranges from the first images of DATA), except the convolutions before the heads. ONNX Runtime and OpenVINO
run the file; the float engines are measured for comparison. An experiment: docs/performance.md says why the package
has no int8 engine.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from darknet_py.data.dataset import Dataset
    from darknet_py.network import Network


def main() -> int:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cfg")
    parser.add_argument("weights")
    parser.add_argument("data")
    parser.add_argument("--calibration", type=int, default=32, metavar="N")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args()

    import torch

    import darknet_py
    from darknet_py.evaluation.evaluator import prepare_dataset
    from darknet_py.inference import benchmark
    from darknet_py.inference.engines import create_engine

    darknet_py.keep_freed_memory()
    torch.set_num_threads(args.threads)
    network = darknet_py.load(args.cfg, args.weights)
    dataset = prepare_dataset(network, args.data)
    with tempfile.TemporaryDirectory() as folder:
        path = quantise(network, dataset, args.calibration, pathlib.Path(folder))
        runs: dict[str, Callable[[Tensor], Any]] = {
            "torch fp32": create_engine(network),
            "torch bf16": create_engine(network, dtype="bf16"),
            "openvino bf16": create_engine(network, "openvino", dtype="bf16"),
            "openvino int8": open_in_openvino(path, args.threads),
            "onnxruntime int8": open_in_onnxruntime(path, args.threads),
        }
        times = benchmark.time_interleaved(runs, torch.rand(1, *network.shape), repeats=args.repeats)
        print(f"| {pathlib.Path(args.cfg).stem}, {args.threads} threads | ms | mAP |")
        print("|---|---|---|")
        for name, run in runs.items():
            evaluation = darknet_py.evaluate(network, dataset, engine=run, batch=1, progress=False)
            print(f"| {name} | {statistics.median(times[name]):.1f} | {evaluation.map:.4f} |", flush=True)
    return 0


def quantise(network: Network, dataset: Dataset, count: int, folder: pathlib.Path) -> pathlib.Path:
    """Write an ONNX file of the network with int8 convolutions and return its path."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    import darknet_py
    from darknet_py.images import resizing
    from darknet_py.images.reading import read_image

    size = network.shape.width, network.shape.height
    exported, simplified, path = (folder / f"{name}.onnx" for name in ("float", "simple", "int8"))
    darknet_py.export(network, exported)
    quant_pre_process(exported, simplified)

    class _CalibrationImages(quantization.CalibrationDataReader):  # type: ignore[misc]  # the package has no type annotations
        def __init__(self) -> None:
            self.rest: Iterator[Any] = (read_image(sample.image) for sample in list(dataset)[:count])

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.rest, None)
            return None if image is None else {"input": resizing.prepare_input(image, size)[None].numpy()}

    graph = onnx.load(simplified).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    before_heads = [node.name for node in convolutions if not _has_later_convolution(graph, node)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization.quantize_static(
            simplified,
            path,
            _CalibrationImages(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.Entropy,
            op_types_to_quantize=["Conv", "MaxPool", "Concat"],
            nodes_to_exclude=before_heads,
        )
    return path


def _has_later_convolution(graph: Any, node: Any) -> bool:
    """Whether the output of a convolution reaches another one."""
    reached = set(node.output)
    for other in graph.node:
        if reached.intersection(other.input):
            if other.op_type == "Conv":
                return True
            reached.update(other.output)
    return False


def open_in_openvino(path: pathlib.Path, threads: int) -> Callable[[Tensor], list[Tensor]]:
    """Return a function that runs the file in OpenVINO."""
    import torch

    from darknet_py.runtimes.openvino_models import get_core

    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    request = get_core().compile_model(path, "CPU", hints).create_infer_request()
    return lambda x: [torch.from_numpy(y.copy()) for y in request.infer([x.numpy()]).values()]


def open_in_onnxruntime(path: pathlib.Path, threads: int) -> Callable[[Tensor], list[Tensor]]:
    """Return a function that runs the file in ONNX Runtime."""
    import torch

    from darknet_py.runtimes.onnxruntime_models import OnnxModel

    model = OnnxModel(path, threads=threads)
    return lambda x: [torch.from_numpy(y) for y in model.run([x.numpy()])]


if __name__ == "__main__":
    sys.exit(main())
