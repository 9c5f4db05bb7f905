"""Class-wise NMS as ONNX nodes after ``boxes`` and ``scores``, with standard operators only.

For heads with plain IoU, NonMaxSuppression is enough. It does not support the overlaps of ``greedynms``
(yolov4) and ``diounms``: there it only selects and sorts the boxes above the threshold, and a Loop runs Darknet's
greedy NMS, one iteration per kept box.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...boxes import NMSKind, NMSOptions

if TYPE_CHECKING:
    import onnx

OUTPUT = "detections"
_PREFIX = "nms_"  # of the names of nodes

# "selected": a row (image, class, box) for each box and class above the threshold, by descending score in each class.
_SELECT = """{choice}
    i0 = Constant <value = int64[1] {{0}}> ()
    i1 = Constant <value = int64[1] {{1}}> ()
    i2 = Constant <value = int64[1] {{2}}> ()
    i3 = Constant <value = int64[1] {{3}}> ()
    by_class = Transpose <perm = [0, 2, 1]> ({scores})
    shape = Shape (boxes)
    all = Slice (shape, i1, i2)
    limit = Constant <value = float[1] {{ {limit} }}> ()
    threshold = Constant <value = float[1] {{ {threshold} }}> ()
    selected = NonMaxSuppression <center_point_box = 1> (boxes, by_class, all, limit, threshold)
    {column} = Slice (selected, i1, i2, i1){number}
    image_and_class = Slice (selected, i0, i2, i1)
    image = Slice (selected, i0, i1, i1)
    box_number = Slice (selected, i2, i3, i1)
    box_index = Concat <axis = 1> (image, box_number)
    box = GatherND (boxes, box_index)
    flat_score = GatherND (by_class, selected)
    score = Unsqueeze (flat_score, i1)
    image_float = Cast <to = 1> (image)
    class_float = Cast <to = 1> (class_of)
    rows = Concat <axis = 1> (image_float, class_float, score, box)
"""

# The columns of some classes, and the numbers of the classes from those of the columns.
_CHOICE = """
    classes = Constant <value = int64[{count}] {{ {numbers} }}> ()
    chosen = Gather <axis = 2> (scores, classes)"""
_NUMBER = "\n    class_of = Gather (classes, column)"

_KEEP_ALL = "    detections = Identity (rows)\n"

# An iteration keeps the remaining box of the highest score and removes the boxes that overlap it.
# box.c: overlap = IoU - (squared distance of centres / squared diagonal of the enclosing box) ** beta.
_GREEDY = """
    im1 = Constant <value = int64[1] {{-1}}> ()
    i4 = Constant <value = int64[1] {{4}}> ()
    two = Constant <value = float {{2.0}}> ()
    zero = Constant <value = float {{0.0}}> ()
    one = Constant <value = float {{1.0}}> ()
    beta = Constant <value = float {{ {beta} }}> ()
    nms_threshold = Constant <value = float {{ {nms} }}> ()
    key_zero = Constant <value = int64 {{0}}> ()
    centre = Slice (box, i0, i2, i1)
    size = Slice (box, i2, i4, i1)
    half_size = Div (size, two)
    low = Sub (centre, half_size)
    high = Add (centre, half_size)
    area = ReduceProd <keepdims = 0> (size, im1)
    none_kept = Mul (flat_score, zero)
    all_remaining = Add (none_kept, one)
    row_shape = Shape (flat_score)
    row_count = Squeeze (row_shape, i0)
    has_rows = Greater (row_count, key_zero)
    remaining_end, kept = Loop (row_count, has_rows, all_remaining, none_kept) <body = iteration
        (int64 index, bool is_running, float[n] remaining, float[n] kept_before) =>
        (bool continues, float[n] remaining_after, float[n] kept_after) {{
            first = ArgMax <axis = 0, keepdims = 1> (remaining)
            first_low = Gather (low, first)
            first_high = Gather (high, first)
            first_centre = Gather (centre, first)
            first_area = Gather (area, first)
            first_key = Gather (image_and_class, first)
            intersection_low = Max (low, first_low)
            intersection_high = Min (high, first_high)
            intersection_size = Sub (intersection_high, intersection_low)
            intersection_sides = Max (intersection_size, zero)
            intersection_area = ReduceProd <keepdims = 0> (intersection_sides, im1)
            areas = Add (area, first_area)
            union = Sub (areas, intersection_area)
            no_intersection = Equal (intersection_area, zero)
            no_union = Equal (union, zero)
            is_disjoint = Or (no_intersection, no_union)
            ratio = Div (intersection_area, union)
            iou = Where (is_disjoint, zero, ratio)
            enclosing_low = Min (low, first_low)
            enclosing_high = Max (high, first_high)
            enclosing_size = Sub (enclosing_high, enclosing_low)
            enclosing_squared = Mul (enclosing_size, enclosing_size)
            diagonal = ReduceSum <keepdims = 0> (enclosing_squared, im1)
            offset = Sub (centre, first_centre)
            offset_squared = Mul (offset, offset)
            distance = ReduceSum <keepdims = 0> (offset_squared, im1)
            no_diagonal = Equal (diagonal, zero)
            distance_ratio = Div (distance, diagonal)
            distance_ratio_power = Pow (distance_ratio, beta)
            penalty = Where (no_diagonal, zero, distance_ratio_power)
            overlap = Sub (iou, penalty)
            overlaps = Greater (overlap, nms_threshold)
            key_offset = Sub (image_and_class, first_key)
            key_offset_abs = Abs (key_offset)
            key_distance = ReduceSum <keepdims = 0> (key_offset_abs, im1)
            is_same_key = Equal (key_distance, key_zero)
            is_suppressed = And (overlaps, is_same_key)
            remaining_others = Where (is_suppressed, zero, remaining)
            zero_row = Unsqueeze (zero, i0)
            remaining_after = ScatterElements <axis = 0> (remaining_others, first, zero_row)
            one_row = Unsqueeze (one, i0)
            kept_after = ScatterElements <axis = 0> (kept_before, first, one_row)
            max_remaining = ReduceMax <keepdims = 0> (remaining_after)
            continues = Greater (max_remaining, zero)
        }}>
    is_kept = Cast <to = 9> (kept)
    detections = Compress <axis = 0> (rows, is_kept)
"""


def append_nms(
    model: onnx.ModelProto,
    threshold: float,
    nms: float,
    options: NMSOptions,
    classes: Sequence[int] | None = None,
) -> None:
    """Replace the outputs ``boxes`` and ``scores`` of a model by ``detections`` [n, 7], see ``Heads.NMS``.

    Args:
        model: The model, changed in place.
        threshold: Score threshold, 0..1.
        nms: IoU threshold of NMS, 0..1; 0 disables it.
        options: NMS of the heads; one of Darknet's kinds.
        classes: Numbers of the classes to report; None: all.
    """
    import onnx
    import onnx.parser

    plain = options.kind not in (NMSKind.GREEDYNMS, NMSKind.DIOUNMS) or nms == 0
    values = {
        "limit": nms if plain and nms else 1.0,  # no IoU is above 1
        "threshold": threshold,
        "nms": nms,
        "beta": 0.6 if options.kind is NMSKind.GREEDYNMS else options.beta,
        "choice": "",
        "scores": "scores",
        "column": "class_of",
        "number": "",
    }
    if classes is not None:
        choice = _CHOICE.format(count=len(classes), numbers=", ".join(map(str, classes)))
        values |= {"choice": choice, "scores": "chosen", "column": "column", "number": _NUMBER}
    body = _SELECT.format(**values) + (_KEEP_ALL if plain else _GREEDY.format(**values))
    text = f"nms (float[b, n, 4] boxes, float[b, n, c] scores) => (float[detections, 7] {OUTPUT}) {{\n{body}}}"
    graph = onnx.parser.parse_graph(text)
    _prefix_names(graph, {"boxes", "scores", OUTPUT})
    for number, node in enumerate(graph.node):
        node.name = f"{_PREFIX}{number}_{node.op_type}"
    model.graph.node.extend(graph.node)
    kept = [output for output in model.graph.output if output.name not in ("boxes", "scores")]
    del model.graph.output[:]
    model.graph.output.extend([*graph.output, *kept])


def remove_nms(model: onnx.ModelProto) -> None:
    """Undo ``append_nms``: the outputs are ``boxes`` and ``scores`` again, without shapes."""
    import onnx

    nodes = [node for node in model.graph.node if not node.name.startswith(_PREFIX)]
    kept = list(model.graph.output)[1:]
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(nodes)
    model.graph.output.extend([*(onnx.ValueInfoProto(name=name) for name in ("boxes", "scores")), *kept])


def _prefix_names(graph: onnx.GraphProto, kept: set[str]) -> None:
    """Prefix the names of values, so that they differ from those of the model."""

    def add_prefix(name: str) -> str:
        return name if name in kept or not name else f"nms/{name}"

    for node in graph.node:
        node.input[:] = [add_prefix(name) for name in node.input]
        node.output[:] = [add_prefix(name) for name in node.output]
        for attribute in node.attribute:
            if attribute.g.node:
                _prefix_names(attribute.g, kept)
    for value in (*graph.input, *graph.output):
        value.name = add_prefix(value.name)
