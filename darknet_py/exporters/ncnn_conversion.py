"""Networks as files of ncnn, converted by pnnx from ONNX."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import DarknetError
from ..network import Network
from ..postprocess import Heads
from ..runtimes.ncnn_models import is_ncnn_installed
from .converter_process import describe_failure, run_module
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
    _split_reorganisations(model.graph)
    _pool_instead_of_steps(model.graph)
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
            raise DarknetError(f"{path.name}: pnnx cannot convert the network: {describe_failure(done)}")
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
            reason = str(error).removeprefix(f"{path.resolve()}: ")
            raise DarknetError(f"{path.name}: ncnn cannot run the network: {reason}") from error


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
        widths = _add_constant(graph, f"{prefix}_widths", [0, 0, top, left, 0, 0, bottom, right])
        value = _add_constant(graph, f"{prefix}_value", np.finfo(np.float32).min)
        padding = onnx.helper.make_node("Pad", [node.input[0], widths, value], [prefix], prefix, mode="constant")
        graph.node.insert(list(graph.node).index(node), padding)
        node.input[0] = prefix
        pads[:] = [0] * 4


def _split_reorganisations(graph: onnx.GraphProto) -> None:
    """Compute ``[reorg]`` by slices with steps: ncnn has no tensors of the six dimensions that its transposition has.

    A map [batch, k, height * s, width * s] becomes [batch, s * s * k, height, width].
    """
    import onnx

    shapes = {value.name: value.type.tensor_type.shape.dim for value in graph.value_info}
    for node in [node for node in graph.node if node.op_type == "Transpose"]:
        ((*order,),) = [attribute.ints for attribute in node.attribute if attribute.name == "perm"]
        if order != [0, 3, 5, 1, 2, 4]:
            continue
        prefix = node.output[0]
        batch, channels, height, step, width, _ = (dim.dim_value for dim in shapes[node.input[0]])
        size = [height * step, width * step]
        constants = {"map": [batch, channels, *size], "end": size, "axes": [2, 3], "steps": [step, step]}
        whole, end, axes, steps = (
            _add_constant(graph, f"{prefix}_{name}", values) for name, values in constants.items()
        )
        nodes = [onnx.helper.make_node("Reshape", [node.input[0], whole], [f"{prefix}_reshaped"])]
        parts = [f"{prefix}_{row}_{column}" for row in range(step) for column in range(step)]
        for number, part in enumerate(parts):
            start = _add_constant(graph, f"{part}_start", divmod(number, step))
            nodes.append(onnx.helper.make_node("Slice", [f"{prefix}_reshaped", start, end, axes, steps], [part]))
        joined = f"{prefix}_parts"  # a new name: the description of the old one has six dimensions
        nodes.append(onnx.helper.make_node("Concat", parts, [joined], axis=1))
        for reader in graph.node:
            reader.input[:] = [joined if name == prefix else name for name in reader.input]
        _replace(graph, node, nodes)


def _pool_instead_of_steps(graph: onnx.GraphProto) -> None:
    """Replace slices with steps, which ncnn does not have, by those without and a pooling of single cells."""
    import onnx

    arrays = {value.name: onnx.numpy_helper.to_array(value) for value in graph.initializer}
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in (*graph.input, *graph.value_info)}
    for node in [node for node in graph.node if node.op_type == "Slice" and len(node.input) == 5]:
        axes, steps = (arrays[name].tolist() for name in node.input[3:])
        strides = dict(zip(axes, steps, strict=True))
        if max(steps) == 1 or not {axis for axis, step in strides.items() if step > 1} <= {2, 3} or min(steps) < 1:
            continue
        if ranks.get(node.input[0], 4) != 4:
            raise DarknetError(f"ncnn has no slices with steps of {ranks[node.input[0]]} dimensions")
        prefix = node.output[0]
        pooling = onnx.helper.make_node(
            "MaxPool",
            [f"{prefix}_dense"],
            [prefix],
            kernel_shape=[1, 1],
            strides=[strides.get(2, 1), strides.get(3, 1)],
        )
        dense = onnx.helper.make_node("Slice", node.input[:4], [f"{prefix}_dense"])
        _replace(graph, node, [dense, pooling])


def _add_constant(graph: onnx.GraphProto, name: str, values: npt.ArrayLike) -> str:
    """Add an array to the graph, int64 for a list of integers; return its name."""
    import onnx

    graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
    return name


def _replace(graph: onnx.GraphProto, node: onnx.NodeProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Put other nodes, which compute the same, in the place of a node."""
    place = list(graph.node).index(node)
    graph.node.remove(node)
    for offset, new in enumerate(nodes):
        graph.node.insert(place + offset, new)


def _give_sizes_of_splits(graph: onnx.GraphProto) -> None:
    """Write the sizes of the parts of Split nodes, which pnnx does not compute from their number."""

    values = {value.name: value.type.tensor_type.shape.dim for value in (*graph.value_info, *graph.output)}
    for node in [node for node in graph.node if node.op_type == "Split" and len(node.input) == 1]:
        options = {attribute.name: attribute.i for attribute in node.attribute}
        sizes = [values[name][options["axis"]].dim_value for name in node.output]
        node.input.append(_add_constant(graph, f"{node.output[0]}_sizes", sizes))
        kept = [attribute for attribute in node.attribute if attribute.name != "num_outputs"]
        del node.attribute[:]
        node.attribute.extend(kept)


def _is_unknown(line: str) -> bool:
    """Whether a line of a .param file is a layer that pnnx has passed on under its own name, such as F.grid_sample."""
    words = line.split()
    return len(words) > 2 and "." in words[0]
