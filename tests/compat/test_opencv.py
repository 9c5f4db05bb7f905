"""``DetectionModel`` against that of OpenCV 4: equal classes and pixels, close confidences."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darknet_py import loading
from darknet_py.compat.opencv import DetectionModel, _resize, readNetFromDarknet
from darknet_py.errors import DataError
from darknet_py.exporters.exporter import export
from tests.helpers import opencv_versions, random_networks
from tests.helpers.export_networks import STATEFUL, detector
from tests.helpers.noise_dataset import detector as noise_detector

ROOT = pathlib.Path(__file__).resolve().parents[2]
CALLS = [(0.25, 0.45), (0.3, 0.0), (0.5, 0.3), (0.5,)]

IN_OPENCV = """
import cv2, json, numpy
cfg, weights, frames, calls = sys.argv[1:]
model = cv2.dnn.DetectionModel(weights, cfg)
model.setInputParams(scale=1 / 255, size=(416, 416), swapRB=True)
results = []
for across in (False, True):
    model.setNmsAcrossClasses(across)
    for frame in numpy.load(frames).values():
        for call in json.loads(calls):
            results.append([part.tolist() if len(part) else [] for part in model.detect(frame, *call)])
print(json.dumps(results))
"""

RESIZED = """
import cv2, numpy
frame = numpy.load(sys.argv[1])
numpy.savez(sys.argv[2], *(cv2.resize(frame, size) for size in ((416, 416), (100, 60), (64, 200), (90, 70))))
"""


def frame(height: int = 140, width: int = 180, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def model(tmp_path: pathlib.Path) -> DetectionModel:
    model = DetectionModel(noise_detector(tmp_path))
    model.setInputParams(scale=1 / 255, size=(64, 64), swapRB=True)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov4-tiny", "yolov3-tiny"])
def test_official_weights_give_opencvs_boxes(
    name: str, request: pytest.FixtureRequest, shared: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    folder = opencv_versions.find_folder(4)
    weights, cfg = request.getfixturevalue(f"{name.replace('-', '_')}_weights"), ROOT / "cfgs" / f"{name}.cfg"
    paths = sorted((shared / "data" / "photographs").glob("*.jpg"))
    frames = [np.asarray(Image.open(path).convert("RGB"))[:, :, ::-1] for path in paths]
    np.savez(tmp_path / "frames.npz", *frames)
    args = (str(cfg), str(weights), str(tmp_path / "frames.npz"), json.dumps(CALLS))
    expected = iter(json.loads(opencv_versions.run(folder, IN_OPENCV, *args)))
    model = DetectionModel(weights, cfg)
    model.setInputParams(scale=1 / 255, size=(416, 416), swapRB=True)
    total = 0
    for across in (False, True):
        model.setNmsAcrossClasses(across)
        for image in frames:
            for call in CALLS:
                classes, confidences, boxes = model.detect(image, *call)
                expected_result = next(expected)
                assert [int(k) for k in classes] == expected_result[0]
                np.testing.assert_allclose(confidences, expected_result[1], atol=1e-3)
                assert np.asarray(boxes).tolist() == expected_result[2]
                total += len(classes)
    assert total > 100


def test_frames_are_resized_as_opencv_does(tmp_path: pathlib.Path) -> None:
    folder = opencv_versions.find_folder(4)
    np.save(tmp_path / "a.npy", frame())
    opencv_versions.run(folder, RESIZED, str(tmp_path / "a.npy"), str(tmp_path / "b.npz"))
    with np.load(tmp_path / "b.npz") as resized:
        for number, (width, height) in enumerate(((416, 416), (100, 60), (64, 200), (90, 70))):
            error = np.abs(_resize(frame(), width, height) - resized[f"arr_{number}"])
            assert error.max() <= 1
            assert (error != 0).mean() < 0.01


def test_arrays_have_the_shapes_and_dtypes_of_cv2(model: DetectionModel) -> None:
    classes, confidences, boxes = model.detect(frame(), 0.5, 0.4)
    assert isinstance(boxes, np.ndarray)
    assert isinstance(classes, np.ndarray)
    assert isinstance(confidences, np.ndarray)
    assert [str(part.dtype) for part in (classes, confidences, boxes)] == ["int32", "float32", "int32"]
    assert (classes.shape, confidences.shape, boxes.shape) == ((len(boxes),), (len(boxes),), (len(boxes), 4))
    assert len(boxes) > 1
    assert boxes[:, :2].min() >= 0
    assert (boxes[:, :2] + boxes[:, 2:] <= [180, 140]).all()
    for k in np.unique(classes):
        assert (np.diff(confidences[classes == k]) <= 0).all()
    assert model.detect(frame(), 1.0, 0.4) == ((), (), ())


def test_nms_by_class_and_across_classes(model: DetectionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    xywh = [[0.5, 0.5, 0.4, 0.4], [0.52, 0.5, 0.4, 0.4], [0.5, 0.51, 0.4, 0.4], [0.1, 0.1, 0.3, 0.1]]
    boxes = np.array(xywh, np.float32)
    scores = np.array([[0.6, 0.1], [0.8, 0.1], [0.2, 0.7], [0.3, 0.0]], np.float32)
    monkeypatch.setattr(model, "_rows", lambda _: [(boxes, scores[:, :1], scores)])
    kept = {call: [round(float(c), 1) for c in model.detect(frame(100, 200), *call)[1]] for call in CALLS}
    assert kept[(0.25, 0.45)] == [0.8, 0.3, 0.7]
    assert kept[(0.3, 0.0)] == [0.6, 0.8, 0.7, 0.3]
    assert kept[(0.5,)] == [0.6, 0.8, 0.7]
    assert model.setNmsAcrossClasses(True).getNmsAcrossClasses()
    classes, _, pixels = model.detect(frame(100, 200), 0.25, 0.45)
    assert np.asarray(classes).tolist() == [0, 0]
    assert np.asarray(pixels).tolist() == [[64, 30, 80, 40], [0, 5, 60, 10]]


def test_swap_rb_turns_bgr_frames_into_rgb(model: DetectionModel) -> None:
    first = model.predict(frame())
    second = model.setInputSwapRB(False).predict(frame()[:, :, ::-1])
    np.testing.assert_array_equal(first[0], second[0])
    assert first[0].shape == (2 * 8 * 8, 4 + 1 + 2)


def test_the_mean_is_subtracted_before_scaling(model: DetectionModel) -> None:
    seen: list[torch.Tensor] = []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pixels = frame(64, 64)
    model.setInputMean((10, 20, 30)).setInputScale(0.5).predict(pixels)
    expected = (pixels[:, :, ::-1].astype(np.float32) - [10, 20, 30]) * 0.5
    np.testing.assert_allclose(seen[0][0].permute(1, 2, 0), expected, atol=1e-5)


@pytest.mark.parametrize("swapped", [False, True])
def test_cfg_and_weights_are_accepted_in_either_order(swapped: bool, tmp_path: pathlib.Path) -> None:
    net = noise_detector(tmp_path)
    loading.save(net, tmp_path / "a.weights")
    loading.save(net, tmp_path / "a.pt")
    files = (tmp_path / "a.weights", tmp_path / "tiny.cfg")
    whole = DetectionModel(*(files[::-1] if swapped else files))
    other = DetectionModel(readNetFromDarknet(tmp_path / "tiny.cfg", tmp_path / "a.weights"))
    for model in (whole, other, DetectionModel(tmp_path / "a.pt")):
        model.setInputSize((64, 64)).setInputScale(1 / 255)
        np.testing.assert_array_equal(model.predict(frame())[0], whole.predict(frame())[0])
    whole.setInputSize(96, 64).setPreferableBackend(0).setPreferableTarget(0)
    assert whole.predict(frame())[0].shape == (2 * 12 * 8, 7)


def test_invalid_arguments_are_refused(model: DetectionModel, tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="the input size is not set"):
        DetectionModel(detector()).detect(frame())
    with pytest.raises(DataError, match="no detection head"):
        DetectionModel(random_networks.network(STATEFUL))
    with pytest.raises(DataError, match="expected a cfg and a"):
        DetectionModel("a.weights")
    with pytest.raises(DataError, match="crop=True"):
        model.setInputCrop(True)
    with pytest.raises(DataError, match="size: expected width and height"):
        model.setInputSize((0, 5))
    for wrong in (frame()[:, :, 0], frame().astype(np.float32), frame()[:0]):
        with pytest.raises(DataError, match=r"frame: expected \[height, width, 3\] of uint8"):
            model.detect(wrong)


ROWS_OF_KEPT = """
rows = [[int(classes[k]), float(confidences[k]), *map(int, pixels[k])] for k in kept]
own = []
if cv2.__version__ < "5":
    model = cv2.dnn.DetectionModel("tiny.weights", "tiny.cfg")
    model.setInputParams(scale=1 / 255, size=(64, 64), swapRB=True)
    own = [[int(k), float(c), *map(int, box)] for k, c, box in zip(*model.detect(frame, 0.25, 0.45))]
import json
print(json.dumps([rows, own]))
"""


@pytest.mark.parametrize("major", [4, 5])
def test_the_lines_of_the_page_give_the_boxes_of_detection_model(
    major: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = opencv_versions.find_folder(major)
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason="the extra export is not installed")
    page = (ROOT / "docs" / "opencv.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python skip: [^\n]*\n(.*?NMSBoxesBatched.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert "(608, 608)" in code
    code = code.replace("(608, 608)", "(64, 64)").partition("for k in kept")[0]
    net = noise_detector(tmp_path)
    loading.save(net, tmp_path / "tiny.weights")
    export(net, tmp_path / "yolov4.onnx", heads="boxes")
    pixels = frame()
    Image.fromarray(pixels).save(tmp_path / "dog.png")
    code = code.replace("dog.jpg", "dog.png")  # without loss
    monkeypatch.chdir(tmp_path)
    rows, own = json.loads(opencv_versions.run(folder, code + ROWS_OF_KEPT))
    model = DetectionModel(net)
    model.setInputParams(scale=1 / 255, size=(64, 64), swapRB=True)
    classes, confidences, boxes = model.detect(pixels[:, :, ::-1], 0.25, 0.45)
    expected = [[k, c, *box] for k, c, box in zip(classes, confidences, boxes, strict=True)]
    assert len(expected) > 30
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)
    for of_model in (expected, own) if major == 4 else (expected,):
        np.testing.assert_allclose(sorted(rows), sorted(of_model), atol=1e-5)
