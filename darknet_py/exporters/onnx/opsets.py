"""Rewrite an ONNX model to an older opset.

onnx's own converter fails on Split and Resize. Here onnx's schemas say what a node has that the older version of its
operator lacks: an input that was an attribute becomes one, and an attribute that has its default value is removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

OLDEST = 11  # TensorRT 7 reads 11; before it, NonMaxSuppression and Pad had other inputs

# Attributes that change nothing here: Split has one output for each part, and no shape has a zero.
_REDUNDANT = {("Split", "num_outputs"), ("Reshape", "allowzero")}


def lower_opset(model: onnx.ModelProto, opset: int) -> None:
    """Rewrite a model in place to an older opset than its own, ``OLDEST`` or later.

    Raises ValueError where an operator, or something that a node uses of it, does not exist in that opset.
    """
    import onnx

    (used,) = model.opset_import
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in _all_nodes(model.graph):
        if node.op_type == "Constant":
            constants[node.output[0]] = node.attribute[0].t
    for node in list(_all_nodes(model.graph)):
        if node.op_type not in _REPLACED:
            _lower_node(node, used.version, opset, constants, model.graph)
    nodes = [new for node in model.graph.node for new in _replace_node(node, opset, model.graph)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used.version = opset
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import)


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph, each after those of the body of its loop."""
    for node in graph.node:
        for attribute in node.attribute:
            yield from _all_nodes(attribute.g)
        yield node


def _lower_node(
    node: onnx.NodeProto, current: int, opset: int, constants: dict[str, Any], graph: onnx.GraphProto
) -> None:
    """Rewrite a node in place to the version that its operator has in ``opset``."""
    import onnx

    new = onnx.defs.get_schema(node.op_type, current)
    try:
        old = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        history = (s for s in onnx.defs.get_all_schemas_with_history() if s.name == node.op_type and not s.domain)
        first = min(schema.since_version for schema in history)
        raise ValueError(f"there is no operator {node.op_type}: expected opset {first} or later") from None
    if old.since_version == new.since_version:
        return
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    defaults = {name: _default(schema) for name, schema in new.attributes.items()}
    for name in attributes.keys() - old.attributes.keys():
        if (node.op_type, name) not in _REDUNDANT and attributes[name] != defaults[name]:
            value = attributes[name].decode() if isinstance(attributes[name], bytes) else attributes[name]
            raise ValueError(f"operator {node.op_type} has no attribute {name}, here {value}")
        del attributes[name]
    for name in old.attributes.keys() & defaults.keys() - attributes.keys():
        if defaults[name] != _default(old.attributes[name]):
            attributes[name] = defaults[name]
    for index, (name, parameter) in enumerate(zip(node.input, new.inputs, strict=False)):
        if name and parameter.name in old.attributes:
            if name not in constants:
                raise ValueError(f"operator {node.op_type} has no input {parameter.name} that is computed")
            attributes[parameter.name] = onnx.numpy_helper.to_array(constants[name]).tolist()
            node.input[index] = ""
    for index, (name, parameter) in enumerate(zip(node.input, old.inputs, strict=False)):
        if not name and parameter.option == onnx.defs.OpSchema.FormalParameterOption.Single:
            node.input[index] = f"{node.output[0]}/{parameter.name}"  # Resize: an empty tensor stands for no roi
            graph.initializer.append(onnx.helper.make_tensor(node.input[index], onnx.TensorProto.FLOAT, [0], []))
    while node.input and not node.input[-1]:
        del node.input[-1]
    rewritten = [onnx.helper.make_attribute(name, value) for name, value in sorted(attributes.items())]
    del node.attribute[:]
    node.attribute.extend(rewritten)


def _replace_node(node: onnx.NodeProto, opset: int, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that stand for a node in ``opset``."""
    first_opset, replace = _REPLACED.get(node.op_type, (0, None))
    return replace(node, graph) if replace and opset < first_opset else [node]


def _default(attribute: onnx.defs.OpSchema.Attribute) -> Any:
    """The default value of an attribute; None if it has none."""
    import onnx

    value = attribute.default_value
    return onnx.helper.get_attribute_value(value) if value.name else None


def _replace_mish(node: onnx.NodeProto, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return x * tanh(softplus(x))."""
    import onnx

    (x,), (y,) = node.input, node.output
    return [
        onnx.helper.make_node("Softplus", [x], [f"{y}/softplus"], name=f"{node.name}_softplus"),
        onnx.helper.make_node("Tanh", [f"{y}/softplus"], [f"{y}/tanh"], name=f"{node.name}_tanh"),
        onnx.helper.make_node("Mul", [x, f"{y}/tanh"], [y], name=f"{node.name}_mul"),
    ]


def _replace_shape(node: onnx.NodeProto, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return a Slice of the whole shape in place of a Shape from ``start`` to ``end``."""
    import onnx

    if not node.attribute:
        return [node]
    (x,), (y,) = node.input, node.output
    limits = {"start": 0, "end": 2**31 - 1} | {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    for name, value in limits.items():
        graph.initializer.append(onnx.helper.make_tensor(f"{y}/{name}", onnx.TensorProto.INT64, [1], [value]))
    return [
        onnx.helper.make_node("Shape", [x], [f"{y}/shape"], name=f"{node.name}_shape"),
        onnx.helper.make_node("Slice", [f"{y}/shape", f"{y}/start", f"{y}/end"], [y], name=f"{node.name}_slice"),
    ]


def _replace_softmax(node: onnx.NodeProto, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return exp(x - max) / sum(exp(x - max)) along the axis; Softmax sums over all dimensions from the axis on."""
    import onnx

    (x,), (y,) = node.input, node.output
    axes = [attribute.i for attribute in node.attribute] or [-1]
    return [
        onnx.helper.make_node("ReduceMax", [x], [f"{y}/max"], name=f"{node.name}_max", axes=axes),
        onnx.helper.make_node("Sub", [x, f"{y}/max"], [f"{y}/sub"], name=f"{node.name}_sub"),
        onnx.helper.make_node("Exp", [f"{y}/sub"], [f"{y}/exp"], name=f"{node.name}_exp"),
        onnx.helper.make_node("ReduceSum", [f"{y}/exp"], [f"{y}/sum"], name=f"{node.name}_sum", axes=axes),
        onnx.helper.make_node("Div", [f"{y}/exp", f"{y}/sum"], [y], name=f"{node.name}_div"),
    ]


# Operators that are replaced by others, and the first opset in which they are or do what they are and do in torch's.
_REPLACED = {"Mish": (18, _replace_mish), "Shape": (15, _replace_shape), "Softmax": (13, _replace_softmax)}
