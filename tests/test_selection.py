"""Which classes and how many rows a detector reports; options that are set later or for one call."""

from __future__ import annotations

import pathlib
from collections import deque

import numpy as np
import pytest
import torch
from PIL import Image

from darknet_py.boxes import RawDetections, iou
from darknet_py.detector import Detector
from darknet_py.errors import DataError
from darknet_py.postprocess import Selection
from darknet_py.tiling import TiledDetector
from tests.test_detector import detector, image


def rows(detect: Detector, **options: float) -> list[tuple[int, float]]:
    boxes = detect(image(), **options).boxes
    return list(zip(boxes.cls.tolist(), boxes.conf.tolist(), strict=True))


def test_classes_are_kept_or_skipped_by_name_or_number() -> None:
    every = rows(detector())
    assert {cls for cls, _ in every} == {0, 1}
    ones = [row for row in every if row[0] == 1]
    names = ["cat", "dog"]
    for options in ({"classes": [1]}, {"classes": ["dog"]}, {"skip_classes": ["cat"]}, {"classes": ["1"]}):
        assert rows(detector(names=names, **options)) == ones
    assert rows(detector(classes=[])) == []
    with pytest.raises(DataError, match=r"classes: expected class names or numbers in 0\.\.1, got 'dig'"):
        detector(names=names, classes=["dig"])


def test_thresholds_by_class() -> None:
    every = rows(detector())
    limited = rows(detector(class_thresholds={0: 0.4}))
    assert limited == [(cls, conf) for cls, conf in every if cls == 1 or conf > 0.4]
    assert 0 < len(limited) < len(every)
    lower = rows(detector(threshold=0.5, class_thresholds={1: 0.1}))
    assert lower == [(cls, conf) for cls, conf in every if cls == 1 or conf > 0.5]
    with pytest.raises(DataError, match=r"class_thresholds\[0\]: expected 0\.\.1, got 2"):
        detector(class_thresholds={0: 2})


def test_agnostic_nms_leaves_one_class_per_box_and_no_overlap() -> None:
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.55, 0.5, 0.2, 0.2], [0.6, 0.5, 0.2, 0.2]])
    probs = torch.tensor([[0.9, 0.0], [0.3, 0.95], [0.8, 0.7]])
    best = Selection(agnostic=True).apply(RawDetections(boxes, probs.amax(1), probs)).probs
    assert best.tolist() == torch.tensor([[0.9, 0.0], [0.0, 0.95], [0.8, 0.0]]).tolist()
    result = detector(agnostic_nms=True, nms=0.3)(image())
    assert 0 < len(result) < len(detector(nms=0.3)(image()))
    assert result.boxes.box.unique().numel() == len(result)
    overlap = iou(result.boxes.xywhn[:, None], result.boxes.xywhn[None]).fill_diagonal_(0)
    # greedynms measures less than IoU where centres differ, so some IoU may be a little above
    assert float(overlap.max()) < 0.6


def test_max_detections_keeps_the_most_confident_rows() -> None:
    every = rows(detector())
    assert rows(detector(max_detections=3)) == every[:3]
    tiled = TiledDetector(detector(max_detections=2))(image(200, 150))
    assert len(tiled) == 2
    with pytest.raises(DataError, match="max_detections: expected 0"):
        detector(max_detections=-1)


def test_a_threshold_for_one_call_or_from_now_on() -> None:
    detect = detector()
    every = rows(detect)
    few = [row for row in every if row[1] > 0.4]
    assert rows(detect, threshold=0.4) == few
    assert rows(detect) == every
    detect.threshold = 0.4
    assert rows(detect) == few
    assert "threshold 0.4" in repr(detect)
    with pytest.raises(DataError, match=r"threshold: expected 0\.\.1, got 4"):
        detect.threshold = 4


def test_setting_what_is_no_option_is_an_error() -> None:
    detect = detector()
    with pytest.raises(AttributeError, match=r"Detector has no option 'treshold' \(did you mean 'threshold'\?\)"):
        detect.treshold = 0.5
    assert detect(image()).boxes is not None
    detect.engine = "plain"
    assert "run" not in vars(detect)
    assert repr(detect).endswith("48x32, 2 classes, threshold 0.1, nms 0.45, engine 'plain')")


def test_sequences_bytes_and_files_are_sources(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(image()).save(path)
    detect = detector()
    expected = detect(image()).boxes.data
    with path.open("rb") as file:
        for result in (*detect((path, str(path))), *detect(deque([path])), detect(path.read_bytes()), detect(file)):
            assert torch.equal(result.boxes.data, expected)


def test_clipped_boxes_lie_in_the_image_and_crops_are_their_pixels() -> None:
    result = detector()(image())
    assert float(result.boxes.xyxy.min()) < 0
    clipped = result.clip()
    assert float(clipped.boxes.xyxyn.min()) >= 0
    assert float(clipped.boxes.xyxyn.max()) <= 1
    assert torch.equal(clipped.boxes.conf, result.boxes.conf)
    inside = (clipped.boxes.xywh[:, 2:] > 0).all(dim=1)
    crops = clipped[inside].crops()
    assert len(crops) == int(inside.sum())
    x1, y1, x2, y2 = clipped[inside].boxes.xyxy[0].tolist()
    name, pixels = crops[0]
    assert name == str(int(clipped[inside].boxes.cls[0]))
    expected = image()[int(np.floor(y1)) : int(np.ceil(y2)), int(np.floor(x1)) : int(np.ceil(x2))]
    assert np.array_equal(pixels, expected)


def test_notebooks_show_the_image_with_boxes() -> None:
    result = detector()(image())
    content = result._repr_png_()
    assert content is not None
    assert content.startswith(b"\x89PNG")
    result.orig_img = None
    assert result._repr_png_() is None
