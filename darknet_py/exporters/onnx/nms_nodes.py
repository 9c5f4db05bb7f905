"""Suppression as ONNX nodes behind ``boxes`` and ``scores``: standard operators, no plugin.

Where the heads suppress by plain IoU, NonMaxSuppression does all of it. For ``greedynms`` and
``diounms`` (yolov4 has the first), whose overlap it does not know, it only picks and sorts what is above
the threshold, and a Loop makes Darknet's greedy choice, a round for each box that is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...boxes import NMSKind, NMSOptions

if TYPE_CHECKING:
    import onnx

OUTPUT = "detections"
_PREFIX = "nms_"  # of the nodes' names

# "picked" has a row for each box and class above the threshold, the likeliest of a class first:
# image, class, box.
_PICK = """
    i0 = Constant <value = int64[1] {{0}}> ()
    i1 = Constant <value = int64[1] {{1}}> ()
    i2 = Constant <value = int64[1] {{2}}> ()
    i3 = Constant <value = int64[1] {{3}}> ()
    by_class = Transpose <perm = [0, 2, 1]> (scores)
    shape = Shape (boxes)
    all = Slice (shape, i1, i2)
    limit = Constant <value = float[1] {{ {limit} }}> ()
    threshold = Constant <value = float[1] {{ {threshold} }}> ()
    picked = NonMaxSuppression <center_point_box = 1> (boxes, by_class, all, limit, threshold)
    class_of = Slice (picked, i1, i2, i1)
    image_and_class = Slice (picked, i0, i2, i1)
    image = Slice (picked, i0, i1, i1)
    number = Slice (picked, i2, i3, i1)
    place = Concat <axis = 1> (image, number)
    box = GatherND (boxes, place)
    flat_score = GatherND (by_class, picked)
    score = Unsqueeze (flat_score, i1)
    image_float = Cast <to = 1> (image)
    class_float = Cast <to = 1> (class_of)
    rows = Concat <axis = 1> (image_float, class_float, score, box)
"""

_ALL = "    detections = Identity (rows)\n"

# A round keeps the first box that is left and takes away what it covers.
# box.c: overlap = IoU - (squared distance of centres / squared diagonal around both) ** beta.
_CHOOSE = """
    im1 = Constant <value = int64[1] {{-1}}> ()
    i4 = Constant <value = int64[1] {{4}}> ()
    two = Constant <value = float {{2.0}}> ()
    zero = Constant <value = float {{0.0}}> ()
    unit = Constant <value = float {{1.0}}> ()
    beta = Constant <value = float {{ {beta} }}> ()
    bound = Constant <value = float {{ {nms} }}> ()
    key_zero = Constant <value = int64 {{0}}> ()
    centre = Slice (box, i0, i2, i1)
    size = Slice (box, i2, i4, i1)
    reach = Div (size, two)
    low = Sub (centre, reach)
    high = Add (centre, reach)
    area = ReduceProd <keepdims = 0> (size, im1)
    nobody = Mul (flat_score, zero)
    everybody = Add (nobody, unit)
    rounds = Shape (flat_score)
    rounds_scalar = Squeeze (rounds, i0)
    any_row = Greater (rounds_scalar, key_zero)
    left_over, kept = Loop (rounds_scalar, any_row, everybody, nobody) <body = round
        (int64 turn, bool go, float[n] left, float[n] had) => (bool again, float[n] left_after, float[n] had_after) {{
            first = ArgMax <axis = 0, keepdims = 1> (left)
            first_low = Gather (low, first)
            first_high = Gather (high, first)
            first_centre = Gather (centre, first)
            first_area = Gather (area, first)
            first_key = Gather (image_and_class, first)
            inner_low = Max (low, first_low)
            inner_high = Min (high, first_high)
            inner = Sub (inner_high, inner_low)
            sides = Max (inner, zero)
            shared = ReduceProd <keepdims = 0> (sides, im1)
            areas = Add (area, first_area)
            union = Sub (areas, shared)
            nothing_shared = Equal (shared, zero)
            no_union = Equal (union, zero)
            without = Or (nothing_shared, no_union)
            ratio = Div (shared, union)
            iou = Where (without, zero, ratio)
            outer_low = Min (low, first_low)
            outer_high = Max (high, first_high)
            outer = Sub (outer_high, outer_low)
            outer_squared = Mul (outer, outer)
            diagonal = ReduceSum <keepdims = 0> (outer_squared, im1)
            apart = Sub (centre, first_centre)
            apart_squared = Mul (apart, apart)
            distance = ReduceSum <keepdims = 0> (apart_squared, im1)
            no_diagonal = Equal (diagonal, zero)
            far = Div (distance, diagonal)
            far_power = Pow (far, beta)
            penalty = Where (no_diagonal, zero, far_power)
            overlap = Sub (iou, penalty)
            over = Greater (overlap, bound)
            keys_differ = Sub (image_and_class, first_key)
            keys_apart = Abs (keys_differ)
            key_distance = ReduceSum <keepdims = 0> (keys_apart, im1)
            same = Equal (key_distance, key_zero)
            covered = And (over, same)
            left_of_others = Where (covered, zero, left)
            zero_row = Unsqueeze (zero, i0)
            left_after = ScatterElements <axis = 0> (left_of_others, first, zero_row)
            unit_row = Unsqueeze (unit, i0)
            had_after = ScatterElements <axis = 0> (had, first, unit_row)
            most = ReduceMax <keepdims = 0> (left_after)
            again = Greater (most, zero)
        }}>
    stays = Cast <to = 9> (kept)
    detections = Compress <axis = 0> (rows, stays)
"""


def append(model: onnx.ModelProto, threshold: float, nms: float, how: NMSOptions) -> None:
    """Replace the outputs ``boxes`` and ``scores`` of ``model`` by ``detections`` [n, 7] (see program.Heads)."""
    import onnx
    import onnx.parser

    plain = how.kind not in (NMSKind.GREEDYNMS, NMSKind.DIOUNMS) or nms == 0
    values = {
        "limit": nms if plain and nms else 1.0,  # an IoU above 1 there is not
        "threshold": threshold,
        "nms": nms,
        "beta": 0.6 if how.kind is NMSKind.GREEDYNMS else how.beta,
    }
    body = _PICK.format(**values) + (_ALL if plain else _CHOOSE.format(**values))
    text = f"nms (float[b, n, 4] boxes, float[b, n, c] scores) => (float[detections, 7] {OUTPUT}) {{\n{body}}}"
    graph = onnx.parser.parse_graph(text)
    _prefix(graph, {"boxes", "scores", OUTPUT})
    for number, node in enumerate(graph.node):
        node.name = f"{_PREFIX}{number}_{node.op_type}"
    model.graph.node.extend(graph.node)
    kept = [output for output in model.graph.output if output.name not in ("boxes", "scores")]
    del model.graph.output[:]
    model.graph.output.extend([*graph.output, *kept])


def remove(model: onnx.ModelProto) -> None:
    """Take back what ``append`` did: the outputs are ``boxes`` and ``scores`` again, of untold shapes."""
    import onnx

    nodes = [node for node in model.graph.node if not node.name.startswith(_PREFIX)]
    kept = list(model.graph.output)[1:]
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(nodes)
    model.graph.output.extend([*(onnx.ValueInfoProto(name=name) for name in ("boxes", "scores")), *kept])


def _prefix(graph: onnx.GraphProto, kept: set[str]) -> None:
    """Give the values names that nothing before can have."""

    def renamed(name: str) -> str:
        return name if name in kept or not name else f"nms/{name}"

    for node in graph.node:
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
        for attribute in node.attribute:
            if attribute.g.node:
                _prefix(attribute.g, kept)
    for value in (*graph.input, *graph.output):
        value.name = renamed(value.name)
