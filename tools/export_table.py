#!/usr/bin/env python3
"""Write the table of docs/export.md: every network exported to every target, compared with PyTorch.

    python -m tools.export_table [--folder DIR ...] [--figures FILE] [--only COLUMN ...] [NAME ...]

Each network gets the weights of C Darknet's reference values if these are in the folder of its cfg, else random ones.
The exported files run on noise. A cell is the RMS of the difference from PyTorch relative to the RMS of the output.
Large inputs are made smaller where the network supports other sizes: graph and weights are the same. Results are
stored in a JSON file, so that a run that was stopped continues; ``--fresh`` measures again. The columns of OpenCV are
those that DARKNET_OPENCV lists (tests/helpers/opencv_versions.py). Targets whose packages are not installed are left
out.
``--only`` measures some columns, in the networks that have no result for them, and keeps the others.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from darknet_py import cfg as cfg_
from darknet_py import weights
from darknet_py.errors import DarknetError
from darknet_py.exporters.exporter import export
from darknet_py.exporters.traceable import TraceableNetwork, size_multiple
from darknet_py.exporters.verify import verify_outputs
from darknet_py.files import atomic_write
from darknet_py.layers._norm import Norm
from darknet_py.network import Network
from darknet_py.postprocess import Heads
from darknet_py.runtimes.model import Array
from darknet_py.runtimes.onnxruntime_models import OnnxModel
from darknet_py.runtimes.openvino_models import get_core
from tests.helpers import opencv_versions, reference_values
from tools import export_page

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "conformance"
LARGE = 128 * 128  # pixels; larger inputs are made smaller
CELLS = (5, 3)  # width and height of the smallest feature map of a smaller input
CANDIDATES = 300  # boxes and classes above the threshold with heads=nms
SINGLE = {  # targets that are measured with one image only: suffix and packages
    "ncnn": (".ncnn.param", ("ncnn", "pnnx")),
    "tflite": (".tflite", ("litert_torch", "ai_edge_litert")),
    "coreml": (".mlpackage", ("coremltools",)),
}
_RUN = """
import resource, sys; sys.path[:0] = filter(None, [sys.argv[1]])
resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
import cv2, numpy
net = cv2.dnn.readNetFromONNX(sys.argv[2])
net.setInput(numpy.load(sys.argv[3]))
numpy.savez(sys.argv[4], *net.forward(sys.argv[5:]))
"""


def main() -> int:
    """Measure the networks without results, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks to measure (default: all)")
    folders = [ROOT / "cfgs", SHARED / "alexeyab", SHARED / "rare"]
    parser.add_argument(
        "--folder", type=pathlib.Path, action="append", help="folder of cfgs (default: cfgs/ and ../shared)"
    )
    parser.add_argument("--figures", type=pathlib.Path, default=ROOT / "docs" / "export.json")
    parser.add_argument("--fresh", action="store_true", help="measure networks that have results as well")
    parser.add_argument(
        "--only", nargs="+", choices=SINGLE, default=[], metavar="COLUMN", help=f"columns: {', '.join(SINGLE)}"
    )
    args = parser.parse_args()
    figures: dict[str, dict[str, Any]] = json.loads(args.figures.read_text()) if args.figures.exists() else {}
    paths = [path for folder in args.folder or folders for path in sorted(folder.glob("*.cfg"))]
    for path in paths:
        name = f"{path.parent.name}/{path.stem}"
        old = figures.get(name, {})
        missing = [column for column in args.only if args.fresh or column not in old]
        if (args.names and path.stem not in args.names) or not (missing if args.only else args.fresh or not old):
            continue
        started = time.process_time()
        figures[name] = row = old | (measure_single(path, missing) if args.only else measure(path))
        with atomic_write(args.figures, "w") as file:
            json.dump(figures, file, indent=1, sort_keys=True)
        print(name, *row.values(), f"{time.process_time() - started:.0f} s", flush=True)
    export_page.write(figures, ROOT / "docs" / "export.md")
    return 0


def measure(path: pathlib.Path) -> dict[str, Any]:
    """Return a cell for each target, by column; empty if it needs heads and the network has none."""
    network = load_network(path)
    heads = bool(network.heads)
    row = describe(path, network)
    with tempfile.TemporaryDirectory() as folder:
        onnx = pathlib.Path(folder, "network.onnx")
        row["onnx"] = cell(lambda: measure_onnxruntime(network, onnx))
        for version, opencv_folder in opencv_versions.folders().items():
            row[f"OpenCV {version}"] = cell(partial(measure_opencv, network, onnx, opencv_folder))
        row["openvino"] = cell(lambda: measure_openvino(network, onnx))
        row |= measure_targets(network, [column for column in SINGLE if is_installed(column)])
        row["size"] = cell(lambda: export(network, onnx.with_suffix(".pt2"), dynamic="size").relative_rms)
        row["pt2"] = row["size"] if isinstance(row["size"], float) else ""
        row["pt2"] = row["pt2"] or cell(lambda: export(network, onnx.with_suffix(".pt2"), dynamic="batch").relative_rms)
        limit = threshold(network) if heads else 0.0
        row["nms"] = cell(lambda: measure_onnxruntime(network, onnx, Heads.NMS, limit)) if heads else ""
        row["boxes"] = row["nms"] if isinstance(row["nms"], float) else ""
        if heads and not row["boxes"]:
            row["boxes"] = cell(lambda: measure_onnxruntime(network, onnx, Heads.BOXES, limit))
    return row


def describe(path: pathlib.Path, network: Network) -> dict[str, Any]:
    """Return what a row says of the network itself."""
    shape = network.shape
    return {
        "layers": len(network.layers),
        "input": f"{shape.width} x {shape.height}" if max(shape[1:]) > 1 else str(shape.floats),
        "weights": "reference" if find_reference(path) else "random",
    }


def measure_single(path: pathlib.Path, columns: Sequence[str]) -> dict[str, Any]:
    """Return the cells of some of the ``SINGLE`` columns."""
    network = load_network(path)
    return describe(path, network) | measure_targets(network, columns)


def is_installed(column: str) -> bool:
    """Whether the packages of a ``SINGLE`` column are."""
    return all(importlib.util.find_spec(package) is not None for package in SINGLE[column][1])


def measure_targets(network: Network, columns: Sequence[str]) -> dict[str, Any]:
    """Export for one image of fixed size; ``export`` compares the file. Boxes differ by ``COLUMN pixels``."""
    row: dict[str, Any] = {}
    for column in columns:
        suffix, packages = SINGLE[column]
        if not is_installed(column):
            raise SystemExit(f"{column}: install {', '.join(packages)}")
        pixels = f"{column} pixels"

        def measure_target(suffix: str = suffix, pixels: str = pixels) -> float:
            with tempfile.TemporaryDirectory() as folder:
                result = export(network, pathlib.Path(folder, f"network{suffix}"))
            if not math.isnan(result.box_pixels):
                row[pixels] = result.box_pixels
            return result.relative_rms

        row[column] = cell(measure_target)
    return row


def load_network(path: pathlib.Path) -> Network:
    """Load a network with reference or random weights, and with a small input if it supports one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = cfg_.load(path)
        dialect = "pjreddie" if "deconv" in config.text else "alexeyab"
        network = shrink(Network(config, dialect=dialect))
    reference = find_reference(path)
    if reference is None:
        initialise(network)
        return network
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "a.weights")
        reference_values.write_weights(reference_values.load(reference), file)
        weights.load(network, file)
    return network


def find_reference(path: pathlib.Path) -> pathlib.Path | None:
    """Return the reference values in the folder of a cfg; for those of cfgs/, of the official cfg of the same name."""
    folder = SHARED / "alexeyab" if path.parent == ROOT / "cfgs" else path.parent
    file = folder / f"{path.stem}.json.gz"
    return file if file.exists() else None


def shrink(network: Network) -> Network:
    """Return the network with a smaller input, if its parameters do not depend on the size."""
    shape = network.shape
    step = size_multiple(network)
    width, height = (step * cells for cells in CELLS)
    pixels = shape.width * shape.height
    if pixels <= max(LARGE, width * height) or step == 1 or any("crop" in layer.names for layer in network):
        return network
    try:
        other = Network(network.config, size=(width, height), dialect=network.dialect)
    except DarknetError:
        return network
    sizes = [[tensor.shape for tensor in n.state_dict().values()] for n in (network, other)]
    return other if sizes[0] == sizes[1] else network


def threshold(network: Network) -> float:
    """Return a threshold between two scores, which about ``CANDIDATES`` scores on noise exceed."""
    program = TraceableNetwork(network, Heads.BOXES)
    with torch.inference_mode():
        scores = program(program.example_input(3), *program.initial_state(3))[1].flatten()
    best = scores.topk(min(CANDIDATES, len(scores) - 1) + 1).values
    return float(best[-2:].mean())


def measure_onnxruntime(
    network: Network, onnx: pathlib.Path, heads: Heads = Heads.RAW, threshold: float = 0.25
) -> float:
    """Export to ONNX and compare with batches of 1, 3 and 8."""
    result = export(network, onnx, heads=heads, dynamic="batch", threshold=threshold)
    run = OnnxModel(onnx).run
    larger_batch = verify_outputs(network, run, heads, "batch", threshold=threshold, batches=(8,))
    return max(result.relative_rms, larger_batch.relative_rms)


def cell(function: Callable[[], float]) -> float | str:
    """Return the result of ``function``, or the message of its exception."""
    try:
        return function()
    except DarknetError as error:
        return str(error)
    except Exception as error:  # a runtime's own error is a result here
        return f"{type(error).__name__}: {error}"


def measure_openvino(network: Network, onnx: pathlib.Path) -> float:
    """Compare the ONNX file in OpenVINO."""
    compiled = get_core().compile_model(onnx, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return verify_outputs(network, lambda arrays: list(compiled(arrays).values()), dynamic="batch").relative_rms


def measure_opencv(network: Network, onnx: pathlib.Path, folder: str) -> float:
    """Compare the ONNX file in the OpenCV of a folder, in a separate process."""
    program = TraceableNetwork(network, Heads.RAW)
    if len(program.input_names) > 1:
        raise DarknetError("a state is a second input")
    with torch.inference_mode():
        shapes = [output.shape for output in program(program.example_input(1))]
    x, out = onnx.with_suffix(".npy"), onnx.with_suffix(".npz")

    def run(arrays: list[Array]) -> list[Array]:
        np.save(x, arrays[0])
        command = [sys.executable, "-c", _RUN, folder, str(onnx), str(x), str(out), *program.output_names]
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            messages = [line.partition("error: ")[2] for line in process.stderr.splitlines() if "error: " in line]
            raise DarknetError(messages[-1] if messages else f"exit status {process.returncode}")
        with np.load(out) as file:
            outputs = [file[f"arr_{i}"] for i in range(len(shapes))]
        return [y.reshape(shape) if y.size == shape.numel() else y for y, shape in zip(outputs, shapes, strict=True)]

    return verify_outputs(network, run).relative_rms


def initialise(network: Network) -> None:
    """Initialise weights randomly, and batch norm with the statistics of noise, so that outputs stay near 1."""
    torch.manual_seed(0)
    network.initialise()
    for name, tensor in network.state_dict().items():
        if name.endswith("biases"):  # not zeros, whose sign in binary layers is arbitrary
            tensor.uniform_(-0.1, 0.1)
        elif name.endswith("rolling_variance"):
            tensor.fill_(1)

    def set_statistics(norm: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        x = inputs[0].flatten(2)
        assert isinstance(norm, Norm)
        norm.rolling_mean.copy_(x.mean(dim=(0, 2)))
        norm.rolling_variance.copy_(x.var(dim=(0, 2), correction=0) + 1e-3)

    hooks = [
        module.register_forward_pre_hook(set_statistics) for module in network.modules() if isinstance(module, Norm)
    ]
    with torch.inference_mode():
        shape = network.shape
        network(torch.rand(2, *shape) if max(shape[1:]) > 1 else torch.rand(2, shape.floats))
    for hook in hooks:
        hook.remove()
    network.reset()


if __name__ == "__main__":
    sys.exit(main())
