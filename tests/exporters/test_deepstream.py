"""``export --deepstream``: the folder, documented keys only, and the parser, compiled and run."""

from __future__ import annotations

import configparser
import pathlib
import shutil
import subprocess
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import darknet_py
from darknet_py import cli
from darknet_py.boxes import xywh_to_xyxy
from darknet_py.errors import DarknetError
from darknet_py.exporters.deepstream import export_deepstream, nvinfer_config
from darknet_py.exporters.onnx.description import OnnxDescription
from darknet_py.runtimes.onnxruntime_models import OnnxModel
from tests.helpers import random_networks
from tests.helpers.export_networks import STATEFUL, detector

pytest.importorskip("onnxscript", reason="export to ONNX needs onnxscript: pip install 'darknet-torch[export]'")

STUB = pathlib.Path(__file__).with_name("deepstream_stub")
# The keys of the group [property] and of class attributes for a detector from an ONNX file:
# https://docs.nvidia.com/metropolis/deepstream/dev-guide/text/DS_plugin_gst-nvinfer.html
PROPERTIES = """
num-detected-classes net-scale-factor onnx-file model-engine-file int8-calib-file batch-size input-tensor-from-meta
tensor-meta-pool-size labelfile-path mean-file gie-unique-id operate-on-gie-id operate-on-class-ids interval
input-object-min-width input-object-min-height input-object-max-width input-object-max-height network-mode offsets
output-blob-names parse-bbox-func-name custom-lib-path model-color-format enable-dla use-dla-core process-mode
maintain-aspect-ratio symmetric-padding workspace-size output-tensor-meta network-type gpu-id cluster-mode
filter-out-class-ids infer-dims scaling-filter scaling-compute-hw network-input-order
"""
CLASS_ATTRIBUTES = """
threshold pre-cluster-threshold post-cluster-threshold eps group-threshold minBoxes dbscan-min-score nms-iou-threshold
roi-top-offset roi-bottom-offset detected-min-w detected-min-h detected-max-w detected-max-h topk
"""


def read(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("deepstream")
    net = detector()
    net.names = ("a", "b", "c", "traffic light")
    darknet_py.save(net, folder / "net.pt")
    assert cli.main(["export", str(folder / "net.pt"), "--deepstream", str(folder / "ds"), "--max-batch", "4"]) == 0
    return folder / "ds"


def test_the_folder_has_what_the_configuration_names(folder: pathlib.Path) -> None:
    names = ["config_infer_primary.txt", "labels.txt", "net.onnx", "nvdsinfer_darknet.cpp"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert (folder / "labels.txt").read_text("utf-8") == "a\nb\nc\ntraffic light\n"
    config = read((folder / "config_infer_primary.txt").read_text("utf-8"))
    properties = dict(config["property"])
    assert set(properties) <= set(PROPERTIES.split())
    assert set(config["class-attrs-all"]) <= set(CLASS_ATTRIBUTES.split())
    assert (folder / properties["onnx-file"]).is_file()
    assert (folder / properties["labelfile-path"]).is_file()
    model = OnnxModel(folder / properties["onnx-file"])
    assert properties["output-blob-names"].split(";") == list(model.outputs)
    shape = (int(properties["batch-size"]), *map(int, properties["infer-dims"].split(";")))
    boxes, scores = model.run([np.zeros(shape, np.float32)])
    assert boxes.shape == (4, 288, 4)
    assert scores.shape == (4, 288, int(properties["num-detected-classes"]))
    assert float(properties["net-scale-factor"]) * 255 == pytest.approx(1, abs=1e-12)
    function = properties["parse-bbox-func-name"]
    assert f'extern "C" bool {function}(' in (folder / "nvdsinfer_darknet.cpp").read_text("utf-8")
    assert properties["custom-lib-path"] in (folder / "nvdsinfer_darknet.cpp").read_text("utf-8")


def described(**changes: str) -> OnnxDescription:
    metadata = {"producer": "darknet_py", "resize": "stretch", "fp16": "false", "nms": "0.5", "threshold": "0.2"}
    metadata |= {"names": "[]", "head_options": '[{"classes": 3}]'} | changes
    channels = 1 if changes else 3
    return OnnxDescription(
        {"input": (None, channels, 96, 64)}, {"boxes": (None, 9, 4), "scores": (None, 9, 3)}, metadata
    )


def test_the_configuration_follows_the_metadata() -> None:
    config = read(nvinfer_config(described(), "a.onnx", 1))
    shown = {key: config["property"][key] for key in ("maintain-aspect-ratio", "model-color-format", "network-mode")}
    assert shown == {"maintain-aspect-ratio": "0", "model-color-format": "0", "network-mode": "0"}
    assert config["property"]["infer-dims"] == "3;96;64"
    assert dict(config["class-attrs-all"]) == {"pre-cluster-threshold": "0.2", "nms-iou-threshold": "0.5"}
    other = read(nvinfer_config(described(resize="letterbox", fp16="true", nms="0"), "a.onnx", 2))["property"]
    keys = ("maintain-aspect-ratio", "symmetric-padding", "model-color-format", "network-mode", "cluster-mode")
    assert [other[key] for key in keys] == ["1", "1", "2", "2", "4"]
    assert other["model-engine-file"] == "a.onnx_b2_gpu0_fp16.engine"


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The parser in a program, compiled against the stub of DeepStream's header."""
    if not shutil.which("g++"):
        pytest.skip("needs a C++ compiler: apt install g++")
    program = tmp_path_factory.mktemp("parser") / "run_parser"
    source = pathlib.Path(darknet_py.__file__).parent / "exporters"
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-I", str(STUB), "-I", str(source)]
    subprocess.run(["g++", *flags, str(STUB / "run_parser.cpp"), "-o", str(program)], check=True)
    return program


def run(parser: pathlib.Path, folder: pathlib.Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(parser), str(folder / "values"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def random_outputs() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    rng = np.random.default_rng(3)
    boxes = np.concatenate((rng.uniform(-0.1, 1.1, (50, 2)), rng.uniform(0.05, 0.6, (50, 2))), axis=1)
    return boxes.astype(np.float32), rng.uniform(0, 1, (50, 3)).astype(np.float32)


def test_the_parser_returns_the_boxes_above_the_threshold(parser: pathlib.Path, tmp_path: pathlib.Path) -> None:
    boxes, scores = random_outputs()
    (tmp_path / "values").write_bytes(boxes.tobytes() + scores.tobytes())
    done = run(parser, tmp_path, 50, 3, 64, 96, 0.7)
    found = np.array([line.split() for line in done.stdout.splitlines()], float)
    corners = xywh_to_xyxy(torch.from_numpy(boxes)) * torch.tensor([64, 96, 64, 96])
    corners = torch.minimum(corners.clamp(min=0), torch.tensor([64.0, 96.0, 64.0, 96.0]))
    expected = [
        [number, *corners[row, :2], *(corners[row, 2:] - corners[row, :2]), scores[row, number]]
        for row, number in np.argwhere(scores > 0.7)
    ]
    assert 20 < len(expected) < 100
    np.testing.assert_allclose(found, np.array(expected, float), atol=1e-5)


def test_the_parser_refuses_other_outputs(parser: pathlib.Path, tmp_path: pathlib.Path) -> None:
    boxes, scores = random_outputs()
    (tmp_path / "values").write_bytes(boxes.tobytes() + scores.tobytes())
    done = run(parser, tmp_path, 50, 3, 64, 96, 0.7, 4)
    assert done.returncode == 1
    assert "found boxes [50, 4] and scores [50, 3] for num-detected-classes=4" in done.stderr


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (STATEFUL, {}, "the network has no detection head: expected a detector"),
        ("", {"max_batch": 0}, "max_batch: expected 1 or more, got 0"),
    ],
)
def test_other_networks_are_refused(
    network: str, options: dict[str, Any], message: str, tmp_path: pathlib.Path
) -> None:
    net = random_networks.network(network) if network else detector()
    with pytest.raises(DarknetError, match=message):
        export_deepstream(net, tmp_path / "ds", "a", **options)
    assert not list(tmp_path.iterdir())
