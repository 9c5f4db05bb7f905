"""Rewrite an ONNX graph to forms that OpenCV 4 and 5, TensorRT and OpenVINO support.

Pad nodes of -inf become the padding of the MaxPool after them, Pad nodes of width 0 are removed, and Unsqueeze nodes
with several axes are split. Dynamic dimensions get names in place of torch's symbols, and what torch noted about its
source code is removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

_AXES = ("batch", "channels", "height", "width")


def clean_up(model: onnx.ModelProto) -> None:
    """Rewrite the graph in place; its outputs stay the same."""
    _merge_padding_into_pooling(model.graph)
    _split_unsqueeze(model.graph)
    _name_dimensions(model.graph)
    for item in (model.graph, *model.graph.node):
        del item.metadata_props[:]


def remove_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes and initializers that no output depends on."""
    used = {output.name for output in graph.output}
    for index in reversed(range(len(graph.node))):
        if used.isdisjoint(graph.node[index].output):
            del graph.node[index]
        else:
            used.update(_read_names(graph.node[index]))
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in used:
            del graph.initializer[index]


def _read_names(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names of the values that a node and the bodies of its loops read."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _read_names(inner)
        yield from (output.name for output in attribute.g.output)


def _name_dimensions(graph: onnx.GraphProto) -> None:
    """Name the dynamic dimensions of inputs and outputs: ``batch``, ``height``, ``width``, ``height/8``, ``boxes``."""
    sizes: dict[str, tuple[str, int]] = {}  # by torch's symbol: the dimension of the input, and its multiple of it
    for dims, _, axis in _dynamic_dimensions(graph.input):
        factor, symbol = _factor_and_symbol(dims[axis].dim_param)
        sizes.setdefault(symbol, (_AXES[axis], factor))
        dims[axis].dim_param = _AXES[axis]
    for dims, name, axis in _dynamic_dimensions(graph.output):
        factor, symbol = _factor_and_symbol(dims[axis].dim_param)
        of_input, of_factor = sizes.get(symbol, ("", 0))
        if len(dims) == 3 and axis == 1:
            dims[axis].dim_param = "boxes"
        elif not of_factor or not factor or of_factor % factor:
            dims[axis].dim_param = f"{name}_{_AXES[axis]}"
        else:
            dims[axis].dim_param = of_input if of_factor == factor else f"{of_input}/{of_factor // factor}"
    for index in reversed(range(len(graph.value_info))):
        if any(dim.dim_param for dim in graph.value_info[index].type.tensor_type.shape.dim):
            del graph.value_info[index]


def _dynamic_dimensions(values: Sequence[onnx.ValueInfoProto]) -> Iterator[tuple[Any, str, int]]:
    """Yield dimensions of values, name and axis of each that is dynamic."""
    for value in values:
        dims = value.type.tensor_type.shape.dim
        yield from ((dims, value.name, axis) for axis, dim in enumerate(dims) if dim.dim_param)


def _factor_and_symbol(expression: str) -> tuple[int, str]:
    """Split ``16*s30`` into 16 and ``s30``; the factor of another expression is 0."""
    match = re.fullmatch(r"(?:(\d+)\*)?(\w+)", expression)
    return (int(match[1] or 1), match[2]) if match else (0, expression)


def _merge_padding_into_pooling(graph: onnx.GraphProto) -> None:
    """Merge Pad nodes of -inf into the MaxPool nodes that read them, and remove Pad nodes of width 0."""
    import onnx

    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in [node for node in graph.node if node.op_type == "Pad" and len(node.input) > 1]:
        if node.input[1] not in constants or (len(node.input) > 3 and node.input[3]):
            continue
        pads = onnx.numpy_helper.to_array(constants[node.input[1]]).tolist()
        node_readers = readers.get(node.output[0], [])
        inner = [*pads[2:4], *pads[6:8]]
        if len(pads) != 8 or any([*pads[:2], *pads[4:6]]) or min(inner) < 0:
            continue
        if any(inner) and not all(_can_merge(reader, node, constants, inner) for reader in node_readers):
            continue
        for reader in node_readers:
            reader.input[:] = [node.input[0] if name == node.output[0] else name for name in reader.input]
            if any(inner):
                _set_pads(reader, inner)
        graph.node.remove(node)


def _can_merge(pool: onnx.NodeProto, pad: onnx.NodeProto, constants: Mapping[str, Any], pads: Sequence[int]) -> bool:
    """Whether a node is a MaxPool without padding whose kernel is larger than the padding of -inf before it."""
    import onnx

    if pool.op_type != "MaxPool" or len(pad.input) < 3 or pad.input[2] not in constants:
        return False
    options = {a.name: onnx.helper.get_attribute_value(a) for a in pool.attribute}
    value = float(onnx.numpy_helper.to_array(constants[pad.input[2]]))
    unpadded = not any(options.get("pads", ())) and options.get("auto_pad", b"NOTSET") == b"NOTSET"
    return value == float("-inf") and unpadded and max(pads) < min(options["kernel_shape"])


def _set_pads(pool: onnx.NodeProto, pads: Sequence[int]) -> None:
    import onnx

    others = [a for a in pool.attribute if a.name != "pads"]
    del pool.attribute[:]
    pool.attribute.extend([*others, onnx.helper.make_attribute("pads", list(pads))])


def _split_unsqueeze(graph: onnx.GraphProto) -> None:
    """Split Unsqueeze nodes with several axes: OpenCV 4 supports one."""
    import onnx

    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Unsqueeze" and node.input[1] in constants]:
        axes = sorted(onnx.numpy_helper.to_array(constants[node.input[1]]).tolist())
        if len(axes) < 2 or axes[0] < 0:
            continue
        position = list(graph.node).index(node)
        name = node.input[0]
        graph.node.remove(node)
        for offset, axis in enumerate(axes):
            last = offset == len(axes) - 1
            out = node.output[0] if last else f"{node.output[0]}/{axis}"
            value = onnx.helper.make_tensor(f"{node.output[0]}/axis_{axis}", onnx.TensorProto.INT64, [1], [axis])
            graph.initializer.append(value)
            step = onnx.helper.make_node("Unsqueeze", [name, value.name], [out], name=f"{node.name}_{axis}")
            graph.node.insert(position + offset, step)
            name = out
