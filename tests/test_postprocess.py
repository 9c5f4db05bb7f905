"""From the outputs of detection heads to boxes: decoding, letterbox, NMS, and the order of C."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from darknet_py.boxes import NMSOptions, RawDetections, batched_nms, undo_letterbox
from darknet_py.errors import DataError
from darknet_py.layers import DecodeOptions
from darknet_py.network import Network
from darknet_py.postprocess import (
    apply_nms,
    decode,
    decode_dense,
    from_scores,
    postprocess_outputs,
    require_heads,
    to_rows,
    uses_letterbox,
)
from tests.helpers.random_networks import network, random

SIZE = (48, 32)
TEXT = """
[net]
width=48
height=32
channels=3
[conv]
filters=8
size=3
stride=8
pad=1
batch_normalize=1
activation=leaky
[conv]
filters=14
activation=linear
[yolo]
classes=2
num=4
mask=0,1
anchors=6,8,12,9,20,14,40,30
[route]
layers=0
[conv]
filters=14
activation=linear
[yolo]
classes=2
num=4
mask=2,3
anchors=6,8,12,9,20,14,40,30
nms_kind={}
"""
OPTIONS = DecodeOptions(0.1)


def detector(nms_kind: str = "default") -> Network:
    return network(TEXT.format(nms_kind))


def outputs(net: Network, batch: int = 2) -> list[Tensor]:
    with torch.inference_mode():
        maps: list[Tensor] = net(random(batch, 3, 32, 48, low=0))
    return maps


def test_the_boxes_of_all_heads_are_merged_for_each_image() -> None:
    net = detector()
    maps = outputs(net)
    merged = decode(net, maps, SIZE, OPTIONS)
    first, second = (head.decode(y, SIZE, OPTIONS) for head, y in zip(net.heads, maps, strict=True))
    assert len(merged) == 2
    for image, (a, b) in zip(merged, zip(first, second, strict=True), strict=True):
        assert len(a.boxes) > 0
        assert len(b.boxes) > 0
        for column, parts in zip(image, zip(a, b, strict=True), strict=True):
            assert torch.equal(column, torch.cat(parts))


def test_dense_boxes_above_the_threshold_are_the_decoded_ones() -> None:
    net = detector()
    maps = outputs(net, batch=1)
    dense = [from_scores(boxes[0], scores[0], 0.1) for boxes, scores in decode_dense(net, maps, SIZE)]
    rows = torch.cat([to_rows(detections) for detections in dense])
    torch.testing.assert_close(rows, to_rows(decode(net, maps, SIZE, OPTIONS)[0]))


def test_scores_at_the_threshold_are_not_detections() -> None:
    detections = from_scores(torch.rand(2, 4), torch.tensor([[0.5, 0.75], [0.25, 0.5]]), 0.5)
    assert detections.probs.tolist() == [[0, 0.75], [0, 0]]
    assert detections.objectness.tolist() == [0.75, 0]


def test_to_rows_returns_a_row_for_each_box_and_class() -> None:
    boxes = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]])
    probs = torch.tensor([[0.25, 0.0, 0.75], [0.0, 0.5, 0.0]])
    rows = to_rows(RawDetections(boxes, probs.amax(dim=1), probs))
    assert rows[:, :2].tolist() == [[0, 0.25], [2, 0.75], [1, 0.5]]
    assert torch.equal(rows[:, 2:], boxes[[0, 0, 1]])


def test_nms_follows_the_last_head() -> None:
    net, greedy = detector(), detector("greedynms")
    maps = outputs(net)
    (plain, _), (diou, _) = (postprocess_outputs(n, maps, SIZE, OPTIONS, nms=0.3) for n in (net, greedy))
    expected = batched_nms(decode(net, maps, SIZE, OPTIONS)[0], 0.3, NMSOptions())
    assert torch.equal(plain.probs, expected.probs)
    assert not torch.equal(diou.probs, plain.probs)


def test_an_nms_threshold_of_0_disables_it() -> None:
    net = detector()
    maps = outputs(net)
    for kept, raw in zip(
        postprocess_outputs(net, maps, SIZE, OPTIONS, nms=0), decode(net, maps, SIZE, OPTIONS), strict=True
    ):
        assert torch.equal(kept.probs, raw.probs)
    assert apply_nms(raw, 0, NMSOptions()) is raw


def test_the_letterbox_is_undone_by_the_size_of_each_image() -> None:
    net = detector()
    maps = outputs(net)
    sizes = [(90, 30), (20, 70)]
    raw = decode(net, maps, SIZE, OPTIONS)
    undone = postprocess_outputs(net, maps, SIZE, OPTIONS, nms=0, image_sizes=sizes, letterbox=True)
    for detections, boxes, image_size in zip(undone, raw, sizes, strict=True):
        assert torch.equal(detections.boxes, undo_letterbox(boxes.boxes, image_size, SIZE))
    stretched = postprocess_outputs(net, maps, SIZE, OPTIONS, nms=0, image_sizes=sizes)
    assert all(torch.equal(a.boxes, b.boxes) for a, b in zip(stretched, raw, strict=True))


def test_nms_in_pixels_returns_relative_boxes_but_compares_pixels() -> None:
    net = detector("greedynms")  # measures distances, which differ in an image that is not square
    maps = outputs(net, batch=1)
    sizes = [(480, 20)]
    (relative,) = postprocess_outputs(net, maps, SIZE, OPTIONS, nms=0.1, image_sizes=sizes)
    (pixels,) = postprocess_outputs(net, maps, SIZE, OPTIONS, nms=0.1, image_sizes=sizes, nms_in_pixels=True)
    assert torch.equal(relative.boxes, pixels.boxes)
    assert not torch.equal(relative.probs, pixels.probs)


def test_darknet_order_sorts_stably_by_one_class_after_the_other() -> None:
    net = detector()
    maps = outputs(net, batch=1)
    (raw,) = decode(net, maps, SIZE, OPTIONS)
    (ordered,) = postprocess_outputs(net, maps, SIZE, OPTIONS, nms=0.3, darknet_order=True)
    rows = list(range(len(raw.probs)))
    for cls in range(2):
        rows.sort(key=lambda row: -float(raw.probs[row, cls]))
    assert rows != sorted(rows)
    assert torch.equal(ordered.boxes, raw.boxes[rows])
    (unordered,) = postprocess_outputs(net, maps, SIZE, OPTIONS, nms=0.3)
    assert torch.equal(ordered.probs, unordered.probs[rows])


@pytest.mark.parametrize("line", ["", "letter_box=1"])
@pytest.mark.parametrize("dialect", ["alexeyab", "pjreddie"])
def test_the_default_of_the_letterbox(line: str, dialect: str) -> None:
    net = network(TEXT.format("default").replace("channels=3", f"channels=3\n{line}"), dialect=dialect)
    assert uses_letterbox(net) is (bool(line) or dialect == "pjreddie")
    assert uses_letterbox(net, True) is True
    assert uses_letterbox(net, False) is False


def test_a_network_without_heads_is_refused() -> None:
    net = network("[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters=2\nactivation=linear\n")
    with pytest.raises(DataError, match="the network has no detection head: expected a detector"):
        require_heads(net)
    assert len(require_heads(detector())) == 2


def test_boxes_with_nan_or_inf_are_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    net = detector()
    maps = outputs(net, batch=1)
    before = postprocess_outputs(net, maps, SIZE, OPTIONS, nms=0)[0]
    huge = [y.clone() for y in maps]
    huge[0][0, 2, 0, 0] = 200.0  # exp(200) is infinite
    huge[0][0, 3, 0, 1] = 87.0  # exp(87) is finite, but not in pixels
    huge[0][0, 4, 0, :2] = 1.0  # objectness and class 0
    huge[0][0, 5, 0, :2] = 1.0
    with caplog.at_level("WARNING"):
        after = postprocess_outputs(net, huge, SIZE, OPTIONS, nms=0.45, image_sizes=[(4096, 4096)], letterbox=True)[0]
    assert caplog.messages == ["boxes with NaN or Inf in their position or size, which are dropped: 2"]
    assert torch.isfinite(after.boxes * 4096).all()
    assert len(after.boxes) >= len(before.boxes) - 2
