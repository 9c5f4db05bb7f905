"""Exported files in their runtimes give the network's boxes through Detector, Classifier, evaluate and detect."""

from __future__ import annotations

import copy
import importlib.util
import json
import pathlib
import pickle

import numpy as np
import pytest
import torch

import darknet_py
from darknet_py import cfg, cli
from darknet_py.errors import DarknetError
from darknet_py.evaluation.evaluator import evaluate
from darknet_py.exporters import metadata
from darknet_py.inference.exported_model import ExportedModel
from darknet_py.network import Network
from darknet_py.postprocess import Heads
from darknet_py.runtimes.reader import read_model
from tests.helpers import export_networks, random_networks

for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package, reason="the extra export is not installed")

# File, heads and dynamic dimensions: each format and each kind of outputs once.
FILES: dict[str, tuple[Heads, bool | str]] = {
    "a.onnx": (Heads.RAW, "batch"),
    "nms.onnx": (Heads.NMS, "batch"),
    "a.pt2": (Heads.RAW, False),
    "a.xml": (Heads.BOXES, True),
    "a.ncnn.param": (Heads.RAW, False),
    "a.tflite": (Heads.RAW, False),
}
PACKAGES = {".xml": ("openvino",), ".param": ("ncnn", "pnnx"), ".tflite": ("litert_torch", "ai_edge_litert")}
NAMES = ["cat", "dog", "cow", 'naïve <&> "5\n']


@pytest.fixture(scope="module")
def net() -> Network:
    return export_networks.detector()


@pytest.fixture(scope="module")
def folder(net: Network, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("exported")


def file_of(folder: pathlib.Path, net: Network, name: str) -> pathlib.Path:
    """Export the network to one of ``FILES``, once."""
    path = folder / name
    if any(importlib.util.find_spec(package) is None for package in PACKAGES.get(path.suffix, ())):
        pytest.skip(f"the packages for {path.suffix} are not installed")
    if not path.exists():
        heads, dynamic = FILES[name]
        result = darknet_py.export(net, path, heads=heads, dynamic=dynamic, names=NAMES, letterbox=True, threshold=0.3)
        assert result.box_pixels < 1e-3 or heads is Heads.NMS
    return path


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, (height, 90, 3), dtype=np.uint8) for height in (60, 120, 45)]


@pytest.mark.parametrize("name", FILES)
def test_a_file_gives_the_boxes_of_the_network(
    name: str, folder: pathlib.Path, net: Network, images: list[np.ndarray]
) -> None:
    path = file_of(folder, net, name)
    expected = darknet_py.Detector(net, names=NAMES, letterbox=True, threshold=0.35, batch=2)(images)
    detector = darknet_py.Detector(path, threshold=0.35, batch=2)
    assert (detector.names, detector.letterbox) == (NAMES, True)
    for results, wanted in zip(detector(images), expected, strict=True):
        assert len(results.boxes) == len(wanted.boxes) > 0
        assert torch.equal(results.boxes.cls, wanted.boxes.cls)
        assert torch.allclose(results.boxes.conf, wanted.boxes.conf, atol=1e-5)
        assert torch.allclose(results.boxes.xyxy, wanted.boxes.xyxy, atol=1e-2)


def test_a_file_of_dynamic_size_runs_at_another_size(net: Network, folder: pathlib.Path) -> None:
    path = file_of(folder, net, "a.xml")
    size = 128, 160
    other = Network(cfg.loads(net.config.text), size=size)
    other.load_state_dict(net.state_dict())
    x = random_networks.random(1, 3, 160, 128, low=0)
    expected = darknet_py.Detector(other).batch(x)[0].boxes
    boxes = darknet_py.Detector(ExportedModel(path, size=size)).batch(x)[0].boxes
    assert len(boxes) == len(expected) > 0
    assert torch.allclose(boxes.xyxy, expected.xyxy, atol=1e-2)
    with pytest.raises(DarknetError, match=r"expected images of 3 x 96 x 64 .* got 3 x 160 x 128"):
        ExportedModel(path)(x)


def test_a_classifier_runs_from_its_file(tmp_path: pathlib.Path, images: list[np.ndarray]) -> None:
    text = "[net]\nwidth=32\nheight=32\nchannels=3\n[conv]\nfilters=5\nsize=3\nstride=4\n[avgpool]\n[softmax]\n"
    net = random_networks.network(text)
    darknet_py.export(net, tmp_path / "a.onnx", names=None)
    wanted = darknet_py.Classifier(net)(images)
    for result, expected in zip(darknet_py.Classifier(tmp_path / "a.onnx")(images), wanted, strict=True):
        assert torch.allclose(result.probs, expected.probs, atol=1e-6)


def test_evaluate_runs_a_file(net: Network, folder: pathlib.Path, rectangles: pathlib.Path) -> None:
    names = [str(number) for number in range(4)]
    model = file_of(folder, net, "a.onnx")
    expected, evaluation = (
        evaluate(one, rectangles, names=names, letterbox=False, progress=False) for one in (net, model)
    )
    assert evaluation.map == pytest.approx(expected.map)
    with pytest.raises(DarknetError, match=r"nms\.onnx: mAP needs all boxes: expected a file with heads=raw or boxes"):
        evaluate(file_of(folder, net, "nms.onnx"), rectangles, names=names)


def test_detect_and_compare_run_a_file(net: Network, folder: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(file_of(folder, net, "a.onnx"))
    image = "darknet_py/demo/digits.png"
    assert cli.main(["detect", path, image, "--json", "-"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert cli.main(["compare", path, str(file_of(folder, net, "a.pt2"))]) == 0
    assert "layers: 2 of " in capsys.readouterr().out
    assert first
    assert cli.main(["evaluate", path, "x.weights", "a.data"]) == 1
    assert "a.onnx: contains its weights: expected none after it, found x.weights" in capsys.readouterr().err


def test_a_threshold_below_that_of_the_file_is_reported(
    net: Network, folder: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = file_of(folder, net, "nms.onnx")
    darknet_py.Detector(path, threshold=0.3)
    assert not caplog.records
    darknet_py.Detector(path, threshold=0.4, class_thresholds={"dog": 0.2})
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: returns no detections below its own threshold, 0.3"
    ]


def test_files_can_be_copied_and_pickled(net: Network, folder: pathlib.Path) -> None:
    model = ExportedModel(file_of(folder, net, "a.onnx"))
    x = random_networks.random(2, *net.shape, low=0)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x)[0], model(x)[0])


def test_the_network_of_a_file_cannot_be_run(net: Network, folder: pathlib.Path) -> None:
    model = ExportedModel(file_of(folder, net, "a.onnx"))
    with pytest.raises(DarknetError, match=r"its network has no weights here: expected Detector or Classifier"):
        model.network(torch.zeros(1, *net.shape))
    with pytest.raises(DarknetError, match=r"runs in ONNX Runtime: expected no engine, got 'openvino'"):
        darknet_py.Detector(model, engine="openvino")


def test_files_without_metadata_are_refused(net: Network, folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    import onnx

    model = onnx.load(file_of(folder, net, "a.onnx"))
    entries = {entry.key: entry.value for entry in model.metadata_props}
    bad = json.dumps({"cfg": "[net]", "cfg_name": "a", "files": {}, "plugins": {}, "shape": [3, 8, 8]})
    for change, message in (
        ({"producer": "pytorch"}, r"do not say how images are prepared and boxes decoded: .*\(producer: pytorch\)"),
        ({"network": "{"}, "invalid metadata"),
        ({"heads": "all"}, "invalid metadata"),
        ({"network": bad}, "expected layers"),
        ({"network": json.dumps(json.loads(entries["network"]) | {"shape": [3, 1e999, 8]})}, "invalid metadata"),
    ):
        onnx.helper.set_model_props(model, entries | change)
        onnx.save(model, tmp_path / "a.onnx")
        with pytest.raises(DarknetError, match=message) as caught:
            darknet_py.Detector(tmp_path / "a.onnx")
        assert str(caught.value).startswith(f"{tmp_path / 'a.onnx'}")
    with pytest.raises(DarknetError, match="no such file"):
        darknet_py.Detector(tmp_path / "b.xml")


@pytest.mark.parametrize("heads", [Heads.BOXES, Heads.NMS])
def test_outputs_that_the_metadata_do_not_describe_are_refused(
    net: Network, folder: pathlib.Path, tmp_path: pathlib.Path, heads: Heads
) -> None:
    import onnx

    model = onnx.load(file_of(folder, net, "a.onnx"))
    entries = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, entries | {"heads": str(heads)})
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(DarknetError, match=rf"a\.onnx: outputs of shapes \(1, .*expected those of heads={heads}"):
        ExportedModel(tmp_path / "a.onnx")(torch.rand(1, *net.shape))


def test_outputs_of_another_cfg_are_refused(net: Network, folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    import onnx

    model = onnx.load(file_of(folder, net, "a.onnx"))
    entries = {entry.key: entry.value for entry in model.metadata_props}
    source = json.loads(entries["network"])
    source["cfg"] += "\n[route]\nlayers=-2\n" + source["cfg"][source["cfg"].rindex("[yolo]") :]
    onnx.helper.set_model_props(model, entries | {"network": json.dumps(source)})
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(DarknetError, match="expected those of heads=raw of its cfg"):
        ExportedModel(tmp_path / "a.onnx")(torch.rand(1, *net.shape))


def test_damaged_pt2_files_are_one_message(
    net: Network, folder: pathlib.Path, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = file_of(folder, net, "a.pt2").read_bytes()
    (tmp_path / "b.pt2").write_bytes(data[: len(data) // 2])
    with pytest.raises(DarknetError, match=r"b\.pt2: expected a file of torch\.export, found no complete ZIP archive"):
        ExportedModel(tmp_path / "b.pt2")
    assert capfd.readouterr().err == ""  # torch.export would print a traceback


def test_metadata_hold_the_trees_of_the_cfg(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.tree").write_text("a -1\nb -1\nc 0\nd 0\n")
    (tmp_path / "a.cfg").write_text(
        "[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters=4\nsize=8\nactivation=linear\n[softmax]\ntree=a.tree\n"
    )
    net = random_networks.randomise(darknet_py.load(tmp_path / "a.cfg"))
    entries = metadata.describe(net, heads=Heads.RAW, outputs=["softmax_1"])
    (tmp_path / "a.tree").unlink()
    read = metadata.read(entries, "a.onnx").network
    assert read.class_tree is not None
    assert read.class_tree.names == ["a", "b", "c", "d"]


def test_ncnn_needs_its_three_files(net: Network, folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = file_of(folder, net, "a.ncnn.param")
    target = tmp_path / "b.ncnn.param"
    target.write_bytes(path.read_bytes())
    with pytest.raises(DarknetError, match=r"b\.ncnn\.json cannot be read .*expected the three files of darknet-py"):
        read_model(target)
    target.with_suffix(".json").write_bytes(path.with_suffix(".json").read_bytes())
    with pytest.raises(DarknetError, match=r"b\.ncnn\.bin: ncnn cannot load it"):
        read_model(target)
    target.with_suffix(".bin").write_bytes(path.with_suffix(".bin").read_bytes())
    description = json.loads(path.with_suffix(".json").read_text())
    for key in ("inputs", "outputs"):  # a wrong input would end the process
        target.with_suffix(".json").write_text(json.dumps(description | {key: {"other": [1, 3, 8, 8]}}))
        with pytest.raises(
            DarknetError, match=rf"b\.ncnn\.json: .*{key} other.*: .*b\.ncnn\.param has inputs in0 and outputs out0"
        ):
            read_model(target)
    for change in ({"inputs": {"in0": [0, 3, 8, 8]}}, {"outputs": {"out0": [1e999]}}):
        target.with_suffix(".json").write_text(json.dumps(description | change))
        with pytest.raises(DarknetError, match=r"b\.ncnn\.json: expected the JSON of an exported ncnn model"):
            read_model(target)
    with pytest.raises(DarknetError, match="ncnn files are float32 and of fixed size"):
        darknet_py.export(net, tmp_path / "c.ncnn.param", dynamic="batch")


def test_recurrent_files_are_refused(tmp_path: pathlib.Path) -> None:
    net = random_networks.network("[net]\nwidth=4\nheight=4\nchannels=1\n[rnn]\nhidden=4\noutput=3\n[softmax]\n")
    darknet_py.export(net, tmp_path / "a.onnx")
    with pytest.raises(DarknetError, match="does not keep the state of recurrent layers: expected cfg and weights"):
        darknet_py.Classifier(tmp_path / "a.onnx")


def test_ncnn_files_may_have_outputs_that_no_layer_reads(tmp_path: pathlib.Path) -> None:
    """Half of a split in ``cfgs/digits.cfg``."""
    for package in PACKAGES[".param"]:
        pytest.importorskip(package)
    digits = darknet_py.load("digits")
    darknet_py.export(digits, tmp_path / "a.ncnn.param")
    image = np.zeros((96, 96, 3), np.uint8)
    expected = darknet_py.Detector(digits, threshold=0.001)(image)
    found = darknet_py.Detector(str(tmp_path / "a.ncnn.param"), threshold=0.001)(image)
    assert len(found.boxes) == len(expected.boxes) > 0
