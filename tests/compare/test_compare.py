"""``compare_models`` locates injected faults in the right layer, with every backend."""

from __future__ import annotations

import importlib.util
import os
import pathlib
from collections.abc import Callable

import pytest
import torch

from darknet_py import cfg, loading
from darknet_py.compare import libdarknet
from darknet_py.compare.report import ComparisonReport, compare_models
from darknet_py.errors import DarknetError
from darknet_py.network import Network
from tests.helpers import noise_dataset
from tests.helpers.fault_injection import Files, argument, change_activation, change_weight, fill_random, write_model

DEBIAN = "/usr/lib/darknet/libdarknet.so"
SIZE = (96, 64)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """yolov4-tiny with random weights."""
    return write_model(tmp_path_factory.mktemp("tiny"), "yolov4-tiny")


@pytest.fixture(scope="module")
def tiny_yolov3(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """yolov3-tiny with random weights: pjreddie's code does not support groups in [route]."""
    return write_model(tmp_path_factory.mktemp("tiny3"), "yolov3-tiny")


def opencv() -> str:
    """The prefix of the OpenCV backend."""
    if importlib.util.find_spec("cv2") is None:
        pytest.skip("OpenCV is not installed")
    import cv2

    if getattr(cv2.dnn, "readNetFromDarknet", None) is None:
        pytest.skip(f"OpenCV {cv2.__version__} cannot read cfg files")
    return "opencv:"


def library(path: str | None, why: str) -> str:
    if path is None or not os.path.exists(path):
        pytest.skip(why)
    return f"darknet:{path}:"


def pjreddie() -> str:
    return library(DEBIAN, f"{DEBIAN}: Debian's package darknet is not installed")


def alexeyab() -> str:
    path = os.environ.get("DARKNET_LIBRARY")
    return library(path, "DARKNET_LIBRARY does not name a libdarknet.so of AlexeyAB's code")


def first(report: ComparisonReport) -> int:
    assert report.first is not None, report
    return report.first.number


@pytest.fixture(params=["ours", "opencv", "pjreddie", "alexeyab"])
def sides(request: pytest.FixtureRequest) -> tuple[Files, str]:
    """A model, and the prefix of the backend that runs the other side."""
    runners: dict[str, Callable[[], str]] = {"ours": str, "opencv": opencv, "pjreddie": pjreddie, "alexeyab": alexeyab}
    prefix = runners[request.param]()
    pair: Files = request.getfixturevalue("tiny_yolov3" if request.param == "pjreddie" else "tiny")
    return pair, prefix


def test_a_model_equals_itself_in_every_backend(sides: tuple[Files, str]) -> None:
    pair, prefix = sides
    report = compare_models(argument(pair), argument(pair, prefix), size=SIZE, tolerance=1e-3)
    assert report.is_same
    assert (report.first, report.causes, report.unequal_weights) == (None, (), ())
    compared = sum(layer.difference is not None for layer in report.layers)
    assert compared == len(report.layers) - (
        2 if prefix == "opencv:" else 0
    )  # OpenCV does not expose the outputs of heads
    assert report.boxes is not None
    assert report.boxes.is_same


@pytest.mark.parametrize("number", [2, 10])
def test_a_changed_weight_is_located(number: int, sides: tuple[Files, str], tmp_path: pathlib.Path) -> None:
    pair, prefix = sides
    changed = change_weight(pair, number, tmp_path)
    report = compare_models(argument(pair), argument(changed, prefix), size=SIZE, tolerance=1e-3)
    assert first(report) == number
    assert report.unequal_weights == (number,)
    [cause] = report.causes
    assert cause.startswith("weights: 1 of ")
    assert "largest difference at [1, 2, 0, 0]" in cause


@pytest.mark.parametrize("number", [0, 10])
def test_a_changed_activation_is_located(number: int, sides: tuple[Files, str], tmp_path: pathlib.Path) -> None:
    pair, prefix = sides
    changed = change_activation(pair, number, tmp_path)
    report = compare_models(argument(pair), argument(changed, prefix), size=SIZE, tolerance=1e-3)
    assert first(report) == number
    assert report.causes == ("activation: leaky in A, relu in B",)
    assert not report.is_same


@pytest.mark.parametrize("name", ["gru", "yolov1-tiny", "yolov2-tiny-voc"])
def test_recurrent_and_older_networks_in_the_c_library(name: str, tmp_path: pathlib.Path) -> None:
    prefix = pjreddie()
    path = pathlib.Path(f"/usr/share/darknet/cfg/{name}.cfg")
    net = loading.load(path, dialect="pjreddie")
    fill_random(net)
    loading.save(net, tmp_path / "a.weights")
    pair = path, tmp_path / "a.weights"
    report = compare_models(argument(pair), argument(pair, prefix), tolerance=1e-3, threshold=0.1)
    assert report.is_same
    assert all(layer.difference is not None for layer in report.layers)
    assert (report.boxes is None) == (not net.heads)
    assert report.boxes is None or report.boxes.matched > 0


def test_opencv_exposes_layers_that_it_fuses(tmp_path: pathlib.Path) -> None:
    prefix = opencv()
    pair = write_model(tmp_path, "cspresnext50")
    report = compare_models(argument(pair), argument(pair, prefix), size=(64, 64), tolerance=1e-3)
    assert report.is_same
    assert all(layer.difference is not None for layer in report.layers)


def test_a_fault_in_the_last_head_is_located(tiny: Files, tmp_path: pathlib.Path) -> None:
    text = tiny[0].read_text()
    before, _, after = text.rpartition("scale_x_y=1.05")
    assert before
    (tmp_path / "b.cfg").write_text(f"{before}scale_x_y=1.2{after}")
    report = compare_models(argument(tiny), argument((tmp_path / "b.cfg", tiny[1])), size=SIZE)
    assert first(report) == 37
    assert report.causes == ("scale_x_y: 1.05 in A, 1.2 in B",)


def test_another_section_is_the_first_that_differs(tiny: Files, tmp_path: pathlib.Path) -> None:
    config = cfg.load(tiny[0])
    sections = list(config.sections)
    assert sections[1 + 9].name == "maxpool"
    sections[1 + 9] = cfg.Section("local_avgpool", sections[1 + 9].entries)
    (tmp_path / "b.cfg").write_text(cfg.dumps(cfg.Config(tuple(sections))))
    report = compare_models(argument(tiny), argument((tmp_path / "b.cfg", tiny[1])), size=SIZE)
    assert first(report) == 9
    assert report.causes == ("section: [maxpool] in A, [local_avgpool] in B",)


def test_a_missing_layer_is_reported(tiny: Files, tmp_path: pathlib.Path) -> None:
    config = cfg.load(tiny[0])
    (tmp_path / "b.cfg").write_text(cfg.dumps(cfg.Config(config.sections[:31])))
    net = loading.load(*tiny)
    loading.save(net, tmp_path / "b.weights", upto=30)
    report = compare_models(argument(tiny), argument((tmp_path / "b.cfg", tmp_path / "b.weights")), size=SIZE)
    assert first(report) == 30
    assert report.causes == ("A has 38 layers, B has 30",)


def test_a_checkpoint_equals_the_model_it_was_saved_from(tiny: Files, tmp_path: pathlib.Path) -> None:
    loading.save(loading.load(*tiny), tmp_path / "a.pt")
    report = compare_models(str(tmp_path / "a.pt"), argument(tiny), size=SIZE)
    assert report.is_same
    assert max(layer.difference or 0.0 for layer in report.layers) == 0


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A detector of three layers that detects objects in noise, with its files in one folder."""
    folder = tmp_path_factory.mktemp("small")
    net = noise_dataset.detector(folder)
    loading.save(net, folder / "tiny.weights")
    return net


@pytest.mark.parametrize("heads", ["raw", "boxes", "nms"])
def test_an_exported_file_equals_the_model(heads: str, small: Network, tmp_path: pathlib.Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    from darknet_py.exporters.exporter import export

    here = pathlib.Path(small.config.path)
    export(small, tmp_path / "a.onnx", heads=heads, threshold=0.4)
    report = compare_models(argument((here, here.with_suffix(".weights"))), str(tmp_path / "a.onnx"), threshold=0.4)
    assert report.is_same
    assert report.boxes is not None
    assert report.boxes.matched == report.boxes.a > 0
    assert [layer.number for layer in report.layers if layer.difference is not None] == ([2] if heads == "raw" else [])
    changed = change_weight((here, here.with_suffix(".weights")), 1, tmp_path)
    report = compare_models(argument(changed), str(tmp_path / "a.onnx"), threshold=0.4)
    assert not report.is_same
    assert report.first is None if heads != "raw" else first(report) == 2
    assert not report.boxes or not report.boxes.is_same
    with pytest.raises(DarknetError, match="its input is 64x64: expected --imgsz 64 64"):
        compare_models(argument(changed), str(tmp_path / "a.onnx"), size=(96, 96))


def test_errors_quote_a_library_that_exits(tmp_path: pathlib.Path, tiny: Files) -> None:
    prefix = pjreddie()
    loading.save(loading.load(*tiny), tmp_path / "a.pt")
    with pytest.raises(DarknetError, match=r"expected CFG,WEIGHTS \(see convert\)"):
        compare_models(argument(tiny), f"{prefix}{tmp_path / 'a.pt'}", size=SIZE)
    config = cfg.load(tiny[0])
    (tmp_path / "b.cfg").write_text(
        cfg.dumps(config).replace("leaky", "mish")
    )  # which pjreddie's code does not support
    net = loading.load(tmp_path / "b.cfg", dialect="alexeyab")
    x = torch.rand(1, *net.shape)
    with pytest.raises(DarknetError, match=r"libdarknet.so: exited with status"):
        libdarknet.run_library(DEBIAN, net, tmp_path / "missing.weights", x, 0.25, 0.45)
