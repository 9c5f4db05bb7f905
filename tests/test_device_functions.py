"""Every function that takes a network, or its results, gives the CPU's values for a network on a device."""

from __future__ import annotations

import copy
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import darknet_py
from darknet_py.backbones import Backbone
from darknet_py.classifier import Classifier
from darknet_py.compat.opencv import DetectionModel
from darknet_py.data.formats import load_dataset
from darknet_py.detector import Detector
from darknet_py.evaluation.accuracy import EvalTransform, evaluate_accuracy
from darknet_py.evaluation.evaluator import evaluate, prepare_dataset
from darknet_py.evaluation.recall import recall_lines
from darknet_py.evaluation.valid import write_valid_results
from darknet_py.explanation import explain
from darknet_py.generate import generate_text, perplexity
from darknet_py.hub.model_files import Model
from darknet_py.images.reading import ImageArray
from darknet_py.inference.benchmark import benchmark_network
from darknet_py.model_report.facts import collect
from darknet_py.network import Network
from darknet_py.postprocess import decode_dense
from darknet_py.quantization.int8_export import export_int8
from darknet_py.quantization.sensitivity import layer_sqnr
from darknet_py.tracking import Tracker
from darknet_py.visualization import visualize
from tests.helpers import devices, int8_models, noise_dataset, random_networks
from tests.helpers.network_states import CLASSIFIER, DETECTOR

Function = Callable[[Network, pathlib.Path], Any]
X = random_networks.random(2, 3, 32, 32, low=0)
STEM = "[net]\nwidth=32\nheight=32\nchannels=3\n[conv]\nfilters={}\nsize=3\nstride=8\nactivation={}\n"
YOLOV1 = f"{STEM.format(4, 'leaky')}[connected]\noutput=48\nactivation=linear\n"
YOLOV1 += "[detection]\nclasses=2\nside=2\nnum=2\ncoords=4\nrescore=1\nsqrt=1\n"
GAUSSIAN = f"{STEM.format(22, 'linear')}[Gaussian_yolo]\nclasses=2\nnum=2\nmask=0,1\nanchors=9,9,14,14\n"
REGION = f"{STEM.format(14, 'linear')}[region]\nclasses=2\nnum=2\ncoords=4\nsoftmax=1\nanchors=1,2,2,1\n"
CHAIN = f"{STEM.format(8, 'leaky')}batch_normalize=1\n[conv]\nfilters=14\nactivation=linear\n"
CHAIN += "[yolo]\nmask=0,1\nanchors=9,9,14,14\nclasses=2\nnum=2\n"
CHARACTERS = "[net]\ninputs=128\n[rnn]\nhidden=8\noutput=8\n[connected]\noutput=128\nactivation=linear\n[softmax]\n"


def image(seed: int = 3) -> ImageArray:
    return np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def run_detector(net: Network, _: pathlib.Path) -> Any:
    detector = Detector(net, threshold=0.02)
    narrow = detector.with_options(classes=[1], nms=0.3)
    batch = detector.batch(X.to(next(net.parameters()).device))
    return [(each.boxes.xyxy, each.boxes.conf, each.boxes.cls) for each in (detector(image()), narrow(image()), *batch)]


def convert_results(net: Network, _: pathlib.Path) -> Any:
    result = Detector(net, threshold=0.02, engine="plain")(image())  # the same to the last digit
    moved = result.to(next(net.parameters()).device)
    values = []
    for each in (result, moved):
        tracked = each.with_tracks([0, 2], torch.tensor([4, -1]))
        rows = each.to_supervision()
        values += [each.to_demo_text(True), each.to_dict(index=1), tracked.to_dict(), [len(part) for part in each]]
        values += [np.asarray(each.plot()), each.crops(), each.clip().to_json(), tracked.boxes.by_box()]
        values += [rows.xyxy, rows.class_id, rows.data["class_name"], tracked.to_supervision().tracker_id]
    return values


def track(net: Network, _: pathlib.Path) -> Any:
    detector, tracker = Detector(net, threshold=0.02), Tracker()
    device = next(net.parameters()).device
    return [tracker.update(detector(image()).to(device)).boxes.id for _ in range(3)]


def describe_classes(net: Network, folder: pathlib.Path) -> Any:
    results = list(Classifier(net, names=["a", "b", "c"]).stream([image(), image(4)]))
    Image.fromarray(image()).save(folder / "a.png")
    paths, labels = [str(folder / "a.png")] * 2, ["a.png", "q", "r"]
    views = [list(evaluate_accuracy(net, paths, labels, k=2, view=view, workers=0)) for view in EvalTransform]
    return [each.to_json() for each in results], results[0].top(), results[0].to_text(), views


def evaluate_everything(net: Network, folder: pathlib.Path) -> Any:
    data = noise_dataset.images(folder) / "my.data"
    maps = [evaluate(net, data, protocol=each, progress=False).map50 for each in ("darknet", "voc07", "coco")]
    dataset = prepare_dataset(net, data, progress=False)
    lines = list(recall_lines(net, dataset, workers=0, on_error=lambda _: None))
    files = [path for flip in (False, True) for path in write_valid_results(net, data, progress=False, mirrored=flip)]
    return maps, lines, [path.read_text() for path in files]


def draw_layers(net: Network, _: pathlib.Path) -> Any:
    return visualize(net), visualize(net, image(), [0, 2])


def prune_network(net: Network, folder: pathlib.Path) -> Any:
    pruned = darknet_py.prune(net, 0.3, min_channels=2)
    cfg, weights = pruned.save(folder, "small")
    return cfg.read_text(), weights.read_bytes()


def write_text(net: Network, _: pathlib.Path) -> Any:
    text = b"".join(generate_text(net, start=b"ab", length=12, seed=1))
    net.reset()
    return text, list(perplexity(net, b"ab", b"some text"))


def detect_as_opencv(net: Network, _: pathlib.Path) -> Any:
    model = DetectionModel(net, device=str(next(net.parameters()).device))
    model.setInputParams(scale=1 / 255, size=(32, 32), swapRB=True)
    return model.detect(image(), 0.1, 0.4)


def report(net: Network, folder: pathlib.Path) -> Any:
    images = noise_dataset.images(folder)
    (images / "3.png").write_bytes((images / "2.png").read_bytes())
    found = collect(net, files_of(net, folder), data=load_dataset(images / "my.data"), repeats=1)
    runtimes = [(each.name, each.difference is None or each.difference < 1e-3) for each in found.runtimes]
    assert {"torch", "plain"} <= {name for name, _ in runtimes}
    layers = [(each.section, each.output, each.bytes) for each in found.layers]
    boxes = [(each.name, each.boxes.is_same if each.boxes else None) for each in found.runtimes]
    maps = [each.map for each in found.evaluations]
    return runtimes, layers, boxes, maps, len(found.examples), found.summary, found.problems, len(found.notes)


def time_runtimes(net: Network, _: pathlib.Path) -> Any:
    found = benchmark_network(net, X.to(next(net.parameters()).device), repeats=1)
    return list(found["runs"]), [each["sections"] for each in found["layers"]], found["input"], found["gflop"]


def files_of(net: Network, folder: pathlib.Path) -> Model:
    """Write the files of a network, which a report describes."""
    (folder / "a.cfg").write_text(noise_dataset.CFG)
    darknet_py.save_weights(net, folder / "a.weights")
    return Model(str(folder / "a.cfg"), str(folder / "a.weights"))


def export_to(suffix: str) -> Function:
    def export(net: Network, folder: pathlib.Path) -> Any:
        path = folder / f"a{suffix}"
        darknet_py.export(net, path)
        result = Detector(path, threshold=0.05)(image())
        return result.boxes.xyxy, result.boxes.conf

    return export


def run_engine(name: str) -> Function:
    def run(net: Network, folder: pathlib.Path) -> Any:
        result = Detector(net, threshold=0.05, engine=name)(image())
        return result.boxes.xyxy, result.boxes.conf

    return run


FUNCTIONS: dict[str, tuple[str, Function]] = {
    "Detector": (DETECTOR, run_detector),
    "Detector with [detection]": (YOLOV1, run_detector),
    "Detector with [Gaussian_yolo]": (GAUSSIAN, run_detector),
    "Detector with [region]": (REGION, run_detector),
    "Results": (DETECTOR, convert_results),
    "Tracker": (DETECTOR, track),
    "Classifier, evaluate_accuracy": (CLASSIFIER, describe_classes),
    "evaluate, recall, valid": (noise_dataset.CFG, evaluate_everything),
    "features": (DETECTOR, lambda net, _: net.features(X.to(next(net.parameters()).device), [0, 2])),
    "Backbone": (CLASSIFIER, lambda net, _: Backbone(net, [0, 2])(X.to(next(net.parameters()).device))),
    "decode_dense": (DETECTOR, lambda net, _: list(decode_dense(net, net.predict(X), (32, 32)))),
    "explain": (DETECTOR, lambda net, _: [(each.cls, each.cam) for each in explain(net, image())]),
    "visualize": (DETECTOR, draw_layers),
    "prune": (CHAIN, prune_network),
    "layer_sqnr": (DETECTOR, lambda net, _: layer_sqnr(net, [0, 2], [X[:1].to(next(net.parameters()).device)])),
    "report": (noise_dataset.CFG, report),
    "benchmark": (DETECTOR, time_runtimes),
    "generate_text, perplexity": (CHARACTERS, write_text),
    "cv2.dnn": (DETECTOR, detect_as_opencv),
    "deepcopy": (DETECTOR, lambda net, _: Detector(copy.deepcopy(net), threshold=0.05)(image()).boxes.conf),
    "table": (DETECTOR, lambda net, _: net.table(receptive_field=True)),
}
REQUIRED = {"Results": "supervision", "Tracker": "trackers", "evaluate, recall, valid": "pycocotools"}
EXPORTS = {
    ".pt2": "torch",
    ".onnx": "onnxruntime",
    ".xml": "openvino",
    ".param": "ncnn",
    ".tflite": "ai_edge_litert",
}


def build(text: str, device: str) -> Network:
    net = random_networks.network(text)
    devices.move(net, device)
    return net


def compare(value: Any, of_cpu: Any) -> None:
    """Compare tensors and arrays in all that a function returns."""
    if isinstance(of_cpu, Tensor):
        torch.testing.assert_close(value.detach().cpu(), of_cpu.detach(), rtol=1e-4, atol=1e-3)
    elif isinstance(of_cpu, np.ndarray) and of_cpu.dtype.kind == "f":
        np.testing.assert_allclose(value, of_cpu, rtol=1e-4, atol=1e-3)
    elif isinstance(of_cpu, np.ndarray):
        np.testing.assert_array_equal(value, of_cpu)
    elif isinstance(of_cpu, Mapping):
        assert value.keys() == of_cpu.keys()
        compare(list(value.values()), list(of_cpu.values()))
    elif isinstance(of_cpu, list | tuple):
        assert len(value) == len(of_cpu)
        for each, other in zip(value, of_cpu, strict=True):
            compare(each, other)
    elif isinstance(of_cpu, float):
        assert value == pytest.approx(of_cpu, rel=1e-4, abs=1e-6)
    else:
        assert value == of_cpu


def assert_as_on_the_cpu(text: str, function: Function, device: str, folder: pathlib.Path) -> None:
    for name in ("cpu", device):
        (folder / name).mkdir(exist_ok=True)
    expected = function(build(text, "cpu"), folder / "cpu")
    (folder / "again").mkdir()
    compare(function(build(text, device), folder / "again"), expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str, device: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in REQUIRED:
        pytest.importorskip(REQUIRED[name])
    monkeypatch.chdir(tmp_path)
    assert_as_on_the_cpu(*FUNCTIONS[name], device, tmp_path)


@pytest.mark.parametrize("suffix", EXPORTS)
def test_exports(suffix: str, device: str, tmp_path: pathlib.Path) -> None:
    if EXPORTS[suffix] != "torch":
        pytest.importorskip(EXPORTS[suffix])
    assert_as_on_the_cpu(DETECTOR, export_to(suffix), device, tmp_path)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_int8_export(suffix: str, device: str, tmp_path: pathlib.Path) -> None:
    """The ranking of layers included, which an export of this network needs."""
    for package in ("onnx", "onnxscript", "onnxruntime", *(["nncf", "openvino"] if suffix == ".xml" else [])):
        pytest.importorskip(package)
    data = int8_models.dataset(tmp_path, images=4)
    expected, found = (
        export_in_int8(each, data, tmp_path / f"{number}{suffix}") for number, each in enumerate(("cpu", device))
    )
    compare(found, expected)


def export_in_int8(device: str, data: pathlib.Path, path: pathlib.Path) -> Any:
    net = int8_models.spoilt_digits()
    devices.move(net, device)
    result = export_int8(net, path, data, calibration_images=4, repeats=1, weight_bits=7, progress=False)
    assert f"{int8_models.SPOILT} [convolutional]" in result.in_float
    boxes = Detector(path)(image()).boxes
    return result.scores, result.in_float, result.layers, result.bytes["int8"], boxes.xyxy, boxes.conf


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "ncnn", "auto"])
def test_engines(engine: str, device: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine != "auto":
        pytest.importorskip(engine)
    monkeypatch.setenv("DARKNET_PY_HOME", str(tmp_path / "home"))
    assert_as_on_the_cpu(DETECTOR, run_engine(engine), device, tmp_path)
