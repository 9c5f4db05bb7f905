#!/usr/bin/env python3
"""What eight-bit integers would bring on a CPU: their mAP beside their speed.

    python benchmarks/int8.py CFG WEIGHTS DATA [--calibration 32] [--threads 2] [--repeats 10]

The network is exported to ONNX and quantised statically by onnxruntime.quantization (weights per filter, activations
per map, ranges from the first images of DATA), the convolutions before the heads left out. The file runs in ONNX
Runtime and in OpenVINO, beside the float engines. An experiment: the package has no such engine, and
docs/performance.md says why.
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
    """Measure and print."""
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
        path = quantised(network, dataset, args.calibration, pathlib.Path(folder))
        runs: dict[str, Callable[[Tensor], Any]] = {
            "torch fp32": create_engine(network),
            "torch bf16": create_engine(network, dtype="bf16"),
            "openvino bf16": create_engine(network, "openvino", dtype="bf16"),
            "openvino int8": in_openvino(path, args.threads),
            "onnxruntime int8": in_onnxruntime(path, args.threads),
        }
        times = benchmark.interleaved(runs, torch.rand(1, *network.shape), repeats=args.repeats)
        print(f"| {pathlib.Path(args.cfg).stem}, {args.threads} threads | ms | mAP |")
        print("|---|---|---|")
        for name, run in runs.items():
            evaluation = darknet_py.evaluate(network, dataset, engine=run, batch=1, progress=False)
            print(f"| {name} | {statistics.median(times[name]):.1f} | {evaluation.map:.4f} |", flush=True)
    return 0


def quantised(network: Network, dataset: Dataset, count: int, folder: pathlib.Path) -> pathlib.Path:
    """The ONNX file of the network with eight-bit convolutions."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    import darknet_py
    from darknet_py.images import resizing
    from darknet_py.images.reading import read_image

    size = network.shape.width, network.shape.height
    whole, simple, path = (folder / f"{name}.onnx" for name in ("float", "simple", "int8"))
    darknet_py.export(network, whole)
    quant_pre_process(whole, simple)

    class Images(quantization.CalibrationDataReader):  # type: ignore[misc]  # without types of its own
        def __init__(self) -> None:
            self.rest: Iterator[Any] = (read_image(sample.image) for sample in list(dataset)[:count])

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.rest, None)
            return None if image is None else {"input": resizing.prepare_input(image, size)[None].numpy()}

    graph = onnx.load(simple).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    last = [node.name for node in convolutions if not _leads_to_convolution(graph, node)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization.quantize_static(
            simple,
            path,
            Images(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.Entropy,
            op_types_to_quantize=["Conv", "MaxPool", "Concat"],
            nodes_to_exclude=last,
        )
    return path


def _leads_to_convolution(graph: Any, node: Any) -> bool:
    """Whether any convolution comes after this one."""
    reached = set(node.output)
    for other in graph.node:
        if reached.intersection(other.input):
            if other.op_type == "Conv":
                return True
            reached.update(other.output)
    return False


def in_openvino(path: pathlib.Path, threads: int) -> Callable[[Tensor], list[Tensor]]:
    """The file in OpenVINO."""
    import openvino
    import torch

    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(path, "CPU", hints).create_infer_request()
    return lambda x: [torch.from_numpy(y.copy()) for y in request.infer([x.numpy()]).values()]


def in_onnxruntime(path: pathlib.Path, threads: int) -> Callable[[Tensor], list[Tensor]]:
    """The file in ONNX Runtime."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    return lambda x: [torch.from_numpy(y) for y in session.run(None, {"input": x.numpy()})]


if __name__ == "__main__":
    sys.exit(main())
