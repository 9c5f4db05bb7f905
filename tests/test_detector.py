"""The detector: sources, batches and boxes."""

from __future__ import annotations

import pathlib
import time
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import darknet_py
from darknet_py.boxes import undo_letterbox
from darknet_py.detector import Detector
from darknet_py.errors import DataError
from darknet_py.images.reading import ImageArray
from darknet_py.results.results import Results
from tests.helpers.random_networks import network, random

TWO_HEADS = """
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
nms_kind=greedynms
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
"""


def image(width: int = 60, height: int = 40, seed: int = 0) -> ImageArray:
    return (random(height, width, 3, seed=seed, low=0, high=255)).numpy().astype(np.uint8)


def detector(**options: object) -> Detector:
    return Detector(network(TWO_HEADS), **{"threshold": 0.1} | options)  # type: ignore[arg-type]


def same(a: Results, b: Results) -> bool:
    torch.testing.assert_close(a.boxes.data, b.boxes.data, rtol=1e-4, atol=1e-4)
    return a.orig_shape == b.orig_shape and len(a) > 0


def test_every_kind_of_source_gives_the_same_boxes(tmp_path: pathlib.Path) -> None:
    array, path = image(), tmp_path / "a.png"
    Image.fromarray(array).save(path)
    detect = detector()
    expected = detect(array)
    assert len(expected) > 3
    assert all(same(detect(source), expected) for source in (path, str(path), Image.open(path), Image.fromarray(array)))
    assert detect(path).path == str(path)
    assert expected.path == ""


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_the_batch_size_does_not_change_the_results_of_a_list(batch: int) -> None:
    images = [image(60 + 7 * seed, 40 + 9 * seed, seed) for seed in range(5)]
    alone = [detector()(one) for one in images]
    together = detector(batch=batch)(list(images))
    assert len(together) == 5
    assert all(map(same, together, alone))
    assert all(map(same, detector(batch=batch).stream(iter(images)), alone))


def test_outputs_that_an_engine_overwrites_give_the_boxes_of_each_image(tmp_path: pathlib.Path) -> None:
    """The boxes of a list are computed after the network has run on several batches."""
    net = network(TWO_HEADS)
    buffers = [torch.empty(1, *head.shape) for head in net.heads]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")

    def run(x: torch.Tensor) -> list[torch.Tensor]:
        for buffer, output in zip(buffers, net(x), strict=True):
            buffer.copy_(output)
        return buffers

    errors: list[DataError] = []
    images = [image(seed=seed) for seed in range(3)]
    stream = Detector(net, engine=run, threshold=0.1).stream([*images[:2], broken, images[2]], on_error=errors.append)
    assert all(map(same, stream, [detector()(one) for one in images]))
    assert [str(broken) in str(error) for error in errors] == [True]


def test_an_empty_list_has_no_results() -> None:
    assert detector()([]) == []


def test_thresholds_filter_by_confidence_and_overlap() -> None:
    low, high = detector(threshold=0.1, nms=0)(image()), detector(threshold=0.3, nms=0)(image())
    assert 0 < len(high) < len(low)
    assert (low.boxes.conf > 0.1).all()
    assert high.boxes.conf.tolist() == [p for p in low.boxes.conf.tolist() if p > 0.3]
    kept = [len(detector(threshold=0.1, nms=nms)(image())) for nms in (0.05, 0.45, 1.0)]
    assert kept == sorted(kept)
    assert kept[0] < len(low)
    assert kept[2] == len(low)


def test_a_detector_with_other_options_shares_the_engine() -> None:
    base: dict[str, Any] = {"names": ["a", "b"], "threshold": 0.1}
    first = detector(**base)
    cases: tuple[dict[str, Any], ...] = (
        {"threshold": 0.3},
        {"nms": 0.1},
        {"classes": ["b"]},
        {"skip_classes": [1]},
        {"max_detections": 2},
        {"threshold": 0.3, "nms": 0.1, "classes": [0], "max_detections": 1},
    )
    for options in cases:
        other = first.with_options(**options)
        assert other.run is first.run
        made = Detector(first.network, **base | options)
        assert same(other(image()), made(image()))
    assert len(first(image())) > len(first.with_options(threshold=0.3)(image()))  # and the first is as it was
    narrow = first.with_options(classes=["b"])
    assert set(narrow.with_options(nms=0.3)(image()).boxes.cls.tolist()) == {1}
    refused: tuple[dict[str, Any], ...] = ({"threshold": 1.1}, {"nms": -0.1}, {"max_detections": -1}, {"classes": "c"})
    for wrong in refused:
        with pytest.raises(DataError):
            first.with_options(**wrong)


def test_the_steps_of_a_detector_give_its_results() -> None:
    one = detector(letterbox=True)
    images = [image(), image(30, 50, seed=1)]
    with torch.inference_mode():
        outputs = one.run(one.preprocess(images))
    expected = one(images)
    results = one.postprocess(outputs, [each.shape for each in images])
    assert all(same(*pair) for pair in zip(results, expected, strict=True))
    last = one.postprocess([output[1:] for output in outputs], [images[1].shape])  # of one image of the batch
    assert same(last[0], expected[1])
    assert last[0].orig_img is None


def test_nms_runs_over_all_heads_with_the_options_of_the_last() -> None:
    detect = detector()
    assert [head.nms_options.kind for head in detect.network.heads] == ["greedynms", "default"]
    preds = detect.batch(random(1, 3, 32, 48, low=0))[0]
    both = detector(nms=0).batch(random(1, 3, 32, 48, low=0))[0].boxes
    for c in (0, 1):
        rows = both.xywh[both.cls == c]
        plain = darknet_py.boxes.nms_keep(rows, 0.45, darknet_py.boxes.NMSOptions())
        torch.testing.assert_close(preds.boxes.xywh[preds.boxes.cls == c], rows[plain])


def test_boxes_of_a_letterboxed_image_are_relative_to_the_image() -> None:
    array = image(90, 30)
    detect = detector(letterbox=True)
    inside = np.full((32, 48, 3), 127.5)
    stretched = darknet_py.images.resizing.resize(darknet_py.images.resizing.to_tensor(array), 48, 16)
    inside[8:24] = stretched.permute(1, 2, 0).numpy() * 255
    x = torch.from_numpy(inside / 255).permute(2, 0, 1)[None].float()
    expected = undo_letterbox(detect.batch(x)[0].boxes.xywhn, (90, 30), (48, 32))
    preds = detect(array)
    torch.testing.assert_close(preds.boxes.xywhn, expected, rtol=1e-4, atol=1e-4)
    assert preds.orig_shape == (30, 90)


def test_nms_compares_boxes_relative_to_a_letterboxed_image_as_in_c() -> None:
    """The letterbox is undone before NMS (``get_network_boxes`` before ``diounms_sort``)."""
    text = TWO_HEADS.replace("mask=2,3", "mask=2,3\nnms_kind=greedynms")
    options = {"letterbox": True, "threshold": 0.2}
    array, nms_options = image(90, 12), darknet_py.boxes.NMSOptions(darknet_py.boxes.NMSKind.GREEDYNMS)
    every = Detector(network(text), nms=0, **options)(array).boxes  # type: ignore[arg-type]
    kept = Detector(network(text), nms=0.1, **options)(array).boxes  # type: ignore[arg-type]
    counts = []
    for relative in (every.xywhn, every.xywhn * torch.tensor([1, 6 / 32, 1, 6 / 32])):  # to the image, to the input
        counts.append(
            sum(int(darknet_py.boxes.nms_keep(relative[every.cls == c], 0.1, nms_options).sum()) for c in (0, 1))
        )
    assert counts[0] != counts[1]
    assert len(kept) == counts[0]


@pytest.mark.parametrize(
    ("line", "dialect", "given", "expected"),
    [
        ("", "alexeyab", None, False),
        ("letter_box=1", "alexeyab", None, True),
        ("letter_box=1", "alexeyab", False, False),
        ("", "alexeyab", True, True),
        ("", "pjreddie", None, True),
        ("", "pjreddie", False, False),
    ],
)
def test_the_letterbox_follows_argument_cfg_and_dialect(
    line: str, dialect: str, given: bool | None, expected: bool
) -> None:
    net = network(TWO_HEADS.replace("channels=3", f"channels=3\n{line}"), dialect=dialect)
    assert Detector(net, letterbox=given).letterbox is expected


def test_boxes_of_batch_are_relative_to_the_input() -> None:
    x = random(2, 3, 64, 96, low=0)  # another size than the network's own
    results = detector().batch(x)
    assert [result.orig_shape for result in results] == [(64, 96)] * 2
    boxes = results[0].boxes
    torch.testing.assert_close(boxes.xywh, boxes.xywhn * torch.tensor([96, 64, 96, 64]))


def test_results_have_the_given_class_names() -> None:
    assert detector(names=["cat", "dog"])(image()).names == {0: "cat", 1: "dog"}
    assert detector()(image()).names == {0: "0", 1: "1"}
    for names in (["cat"], []):
        with pytest.raises(DataError, match=f"{len(names)} class names"):
            detector(names=names)


def test_other_precisions_and_networks_without_parameters() -> None:
    detect = detector()
    expected = detect(image())
    detect.network.double()
    assert same(detect(image()), expected)
    bare = network("[net]\nwidth=4\nheight=4\nchannels=6\n[yolo]\nclasses=1\nnum=1\nanchors=2,2\n")
    assert Detector(bare).batch(torch.zeros(1, 6, 4, 4))[0].boxes.xyxy.shape == (0, 4)
    assert len(Detector(bare, threshold=0.2)(np.zeros((4, 4, 6), np.uint8))) == 16


@pytest.mark.parametrize("source", ["none.jpg", 3, None, np.zeros((4, 4, 2), np.uint8)])
def test_a_source_that_is_not_an_image_is_refused(source: object) -> None:
    with pytest.raises(DataError):
        detector()(source)  # type: ignore[call-overload]


def test_speed_has_the_stages_in_order() -> None:
    """Milliseconds for each stage; a hook makes the network slow."""
    net = detector(engine="plain")
    net.network.register_forward_hook(lambda *_: time.sleep(0.3))
    speed = net(np.zeros((40, 60, 3), np.uint8)).speed
    assert list(speed) == ["preprocess", "inference", "postprocess"]
    assert speed["inference"] >= 300
    assert 0 < speed["preprocess"] < speed["inference"]
    assert 0 < speed["postprocess"] < speed["inference"]
