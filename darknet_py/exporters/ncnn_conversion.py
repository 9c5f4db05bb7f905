"""Networks as files of ncnn, converted by pnnx from ONNX."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import DarknetError
from ..network import Network
from ..postprocess import Heads
from ..runtimes.ncnn_models import is_ncnn_installed
from .converter_process import run_module
from .onnx.model import to_onnx, write_onnx
from .onnx.opsets import OLDEST, lower_opset
from .traceable import TraceableNetwork

if TYPE_CHECKING:
    import onnx


def write_ncnn(
    network: Network, path: pathlib.Path, heads: Heads = Heads.RAW, options: Mapping[str, Any] | None = None
) -> None:
    """Write PATH (.param), and beside it a .bin and a .json file, see ``runtimes.ncnn_models``.

    Args:
        network: A stateless network.
        path: The .param file.
        heads: What the file returns: ``raw`` or ``boxes``.
        options: Further arguments of ``to_onnx``.

    Raises:
        DarknetError: pnnx is not installed or cannot convert the network, or ncnn is installed and cannot run it.
    """
    try:
        import pnnx
    except ImportError as error:
        raise DarknetError("export to ncnn needs the package pnnx: pip install 'darknet-torch[ncnn]'") from error
    if network.stateful:
        raise DarknetError(f"{path.name}: ncnn does not keep the state of recurrent layers: expected .onnx")
    model = to_onnx(network, heads=heads, **options or {})
    entries = {prop.key: prop.value for prop in model.metadata_props}
    _split_padding_from_pooling(model.graph)
    _give_sizes_of_splits(model.graph)
    lower_opset(model, OLDEST)  # pnnx reads the axes of ReduceMax and ReduceSum from attributes only
    module = TraceableNetwork(network, heads)
    x = module.example_input(1)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_onnx(model, folder / "network.onnx")
        shape = ",".join(map(str, x.shape))
        command = [pnnx.EXEC_PATH, "network.onnx", f"inputshape=[{shape}]f32", "fp16=0"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        written = [folder / f"network.ncnn.{suffix}" for suffix in ("param", "bin")]
        if done.returncode != 0 or not all(file.is_file() for file in written):
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise DarknetError(f"{path.name}: pnnx cannot convert the network ({' '.join(lines[-1:])[:200]})")
        unknown = sorted({line.split()[0] for line in written[0].read_text("utf-8").splitlines() if _is_unknown(line)})
        if unknown:
            raise DarknetError(f"{path.name}: ncnn has no layer for {', '.join(unknown)} of this network")
        for file, target in zip(written, (path, path.with_suffix(".bin")), strict=True):
            shutil.copyfile(file, target)
    with torch.inference_mode():
        outputs = module(x)
    description = {
        "metadata": entries,
        "inputs": {"in0": list(x.shape)},
        "outputs": {f"out{index}": list(output.shape) for index, output in enumerate(outputs)},
    }
    path.with_suffix(".json").write_text(json.dumps(description, indent=1), encoding="utf-8")
    if is_ncnn_installed():
        try:
            run_module("ncnn_process", [str(path.resolve())], path.parent)
        except DarknetError as error:
            raise DarknetError(f"{path.name}: ncnn cannot run the network: {error}") from error


def _split_padding_from_pooling(graph: onnx.GraphProto) -> None:
    """Pad in a node of its own what a MaxPool node pads unevenly: pnnx would pad the first rows and columns twice.

    The value is the lowest float, as ncnn cannot read -inf.
    """
    import onnx

    for node in [node for node in graph.node if node.op_type == "MaxPool"]:
        (pads,) = [attribute.ints for attribute in node.attribute if attribute.name == "pads"] or [[]]
        top, left, bottom, right = pads or [0] * 4
        if (top, left) == (bottom, right):
            continue
        prefix = f"{node.output[0]}_pad"
        widths = np.array([0, 0, top, left, 0, 0, bottom, right])
        for name, values in (("widths", widths), ("value", np.finfo(np.float32).min)):
            graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), f"{prefix}_{name}"))
        inputs = [node.input[0], f"{prefix}_widths", f"{prefix}_value"]
        padding = onnx.helper.make_node("Pad", inputs, [prefix], prefix, mode="constant")
        graph.node.insert(list(graph.node).index(node), padding)
        node.input[0] = prefix
        pads[:] = [0] * 4


def _give_sizes_of_splits(graph: onnx.GraphProto) -> None:
    """Write the sizes of the parts of Split nodes, which pnnx does not compute from their number."""
    import onnx

    values = {value.name: value.type.tensor_type.shape.dim for value in (*graph.value_info, *graph.output)}
    for node in [node for node in graph.node if node.op_type == "Split" and len(node.input) == 1]:
        options = {attribute.name: attribute.i for attribute in node.attribute}
        sizes = np.array([values[name][options["axis"]].dim_value for name in node.output])
        graph.initializer.append(onnx.numpy_helper.from_array(sizes, f"{node.output[0]}_sizes"))
        node.input.append(f"{node.output[0]}_sizes")
        kept = [attribute for attribute in node.attribute if attribute.name != "num_outputs"]
        del node.attribute[:]
        node.attribute.extend(kept)


def _is_unknown(line: str) -> bool:
    """Whether a line of a .param file is a layer that pnnx has passed on under its own name, such as F.grid_sample."""
    words = line.split()
    return len(words) > 2 and "." in words[0]
