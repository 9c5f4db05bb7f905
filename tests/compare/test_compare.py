"""``compare`` finds planted faults in the right layer, whoever runs the other side."""

from __future__ import annotations

import importlib.util
import os
import pathlib
from collections.abc import Callable

import pytest
import torch

from darknet_py import cfg, loading
from darknet_py.compare import libdarknet
from darknet_py.compare.report import Report, compare
from darknet_py.errors import DarknetError
from darknet_py.network import Network
from tests.helpers import noise_dataset
from tests.helpers.fault_injection import Files, files, lively, other_activation, other_weight, side

DEBIAN = "/usr/lib/darknet/libdarknet.so"
SIZE = (96, 64)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """yolov4-tiny with random weights."""
    return files(tmp_path_factory.mktemp("tiny"), "yolov4-tiny")


@pytest.fixture(scope="module")
def tiny3(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """yolov3-tiny with random weights: pjreddie's code knows no groups in [route]."""
    return files(tmp_path_factory.mktemp("tiny3"), "yolov3-tiny")


def opencv() -> str:
    """The prefix of OpenCV, where it still reads cfg files."""
    if importlib.util.find_spec("cv2") is None:
        pytest.skip("OpenCV is not installed")
    import cv2

    if getattr(cv2.dnn, "readNetFromDarknet", None) is None:
        pytest.skip(f"OpenCV {cv2.__version__} has no reader of cfg files any more")
    return "opencv:"


def library(path: str | None, why: str) -> str:
    if path is None or not os.path.exists(path):
        pytest.skip(why)
    return f"darknet:{path}:"


def pjreddie() -> str:
    return library(DEBIAN, f"{DEBIAN}: Debian's package darknet is not installed")


def alexeyab() -> str:
    path = os.environ.get("DARKNET_LIBRARY")
    return library(path, "DARKNET_LIBRARY names no libdarknet.so of AlexeyAB's code")


def first(report: Report) -> int:
    assert report.first is not None, report
    return report.first.number


@pytest.fixture(params=["ours", "opencv", "pjreddie", "alexeyab"])
def sides(request: pytest.FixtureRequest) -> tuple[Files, str]:
    """A model, and the prefix that says who runs the other side."""
    runners: dict[str, Callable[[], str]] = {"ours": str, "opencv": opencv, "pjreddie": pjreddie, "alexeyab": alexeyab}
    prefix = runners[request.param]()
    pair: Files = request.getfixturevalue("tiny3" if request.param == "pjreddie" else "tiny")
    return pair, prefix


def test_the_same_model_is_the_same(sides: tuple[Files, str]) -> None:
    pair, prefix = sides
    report = compare(side(pair), side(pair, prefix), size=SIZE, tolerance=1e-3)
    assert report.same
    assert (report.first, report.causes, report.stored) == (None, (), ())
    compared = sum(row.difference is not None for row in report.rows)
    assert compared == len(report.rows) - (2 if prefix == "opencv:" else 0)  # it shows its heads' boxes alone
    assert report.boxes is not None
    assert report.boxes.same


@pytest.mark.parametrize("number", [2, 10])
def test_a_weight_is_found_in_its_layer(number: int, sides: tuple[Files, str], tmp_path: pathlib.Path) -> None:
    pair, prefix = sides
    changed = other_weight(pair, number, tmp_path)
    report = compare(side(pair), side(changed, prefix), size=SIZE, tolerance=1e-3)
    assert first(report) == number
    assert report.stored == (number,)
    [cause] = report.causes
    assert cause.startswith("weights: 1 of ")
    assert "the most at [1, 2, 0, 0]" in cause


@pytest.mark.parametrize("number", [0, 10])
def test_an_activation_is_found_in_its_layer(number: int, sides: tuple[Files, str], tmp_path: pathlib.Path) -> None:
    pair, prefix = sides
    changed = other_activation(pair, number, tmp_path)
    report = compare(side(pair), side(changed, prefix), size=SIZE, tolerance=1e-3)
    assert first(report) == number
    assert report.causes == ("activation: leaky in A, relu in B",)
    assert not report.same


@pytest.mark.parametrize("name", ["gru", "yolov1-tiny", "yolov2-tiny-voc"])
def test_other_kinds_of_networks_in_the_c_library(name: str, tmp_path: pathlib.Path) -> None:
    prefix = pjreddie()
    path = pathlib.Path(f"/usr/share/darknet/cfg/{name}.cfg")
    net = loading.load(path, dialect="pjreddie")
    lively(net)
    loading.save(net, tmp_path / "a.weights")
    pair = path, tmp_path / "a.weights"
    report = compare(side(pair), side(pair, prefix), tolerance=1e-3, threshold=0.1)
    assert report.same
    assert all(row.difference is not None for row in report.rows)
    assert (report.boxes is None) == (not net.heads)
    assert report.boxes is None or report.boxes.twins > 0


def test_opencv_shows_layers_that_it_fuses(tmp_path: pathlib.Path) -> None:
    prefix = opencv()
    pair = files(tmp_path, "cspresnext50")
    report = compare(side(pair), side(pair, prefix), size=(64, 64), tolerance=1e-3)
    assert report.same
    assert all(row.difference is not None for row in report.rows)


def test_a_fault_in_the_last_head_is_found(tiny: Files, tmp_path: pathlib.Path) -> None:
    text = tiny[0].read_text()
    before, _, after = text.rpartition("scale_x_y=1.05")
    assert before
    (tmp_path / "b.cfg").write_text(f"{before}scale_x_y=1.2{after}")
    report = compare(side(tiny), side((tmp_path / "b.cfg", tiny[1])), size=SIZE)
    assert first(report) == 37
    assert report.causes == ("scale_x_y: 1.05 in A, 1.2 in B",)


def test_another_section_is_the_first_that_differs(tiny: Files, tmp_path: pathlib.Path) -> None:
    config = cfg.load(tiny[0])
    sections = list(config.sections)
    assert sections[1 + 9].name == "maxpool"
    sections[1 + 9] = cfg.Section("local_avgpool", sections[1 + 9].entries)
    (tmp_path / "b.cfg").write_text(cfg.dumps(cfg.Config(tuple(sections))))
    report = compare(side(tiny), side((tmp_path / "b.cfg", tiny[1])), size=SIZE)
    assert first(report) == 9
    assert report.causes == ("the section is [maxpool] in A, [local_avgpool] in B",)


def test_a_missing_layer_is_told(tiny: Files, tmp_path: pathlib.Path) -> None:
    config = cfg.load(tiny[0])
    (tmp_path / "b.cfg").write_text(cfg.dumps(cfg.Config(config.sections[:31])))
    net = loading.load(*tiny)
    loading.save(net, tmp_path / "b.weights", upto=30)
    report = compare(side(tiny), side((tmp_path / "b.cfg", tmp_path / "b.weights")), size=SIZE)
    assert first(report) == 30
    assert report.causes == ("A has 38 layers, B 30",)


def test_checkpoints_are_the_model_they_were_made_of(tiny: Files, tmp_path: pathlib.Path) -> None:
    loading.save(loading.load(*tiny), tmp_path / "a.pt")
    report = compare(str(tmp_path / "a.pt"), side(tiny), size=SIZE)
    assert report.same
    assert max(row.difference or 0.0 for row in report.rows) == 0


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A detector of three layers that finds much in noise; files beside it."""
    place = tmp_path_factory.mktemp("small")
    net = noise_dataset.detector(place)
    loading.save(net, place / "tiny.weights")
    return net


@pytest.mark.parametrize("heads", ["raw", "boxes", "nms"])
def test_an_exported_file_is_the_model(heads: str, small: Network, tmp_path: pathlib.Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    from darknet_py.exporters.exporter import export

    here = pathlib.Path(small.config.path)
    export(small, tmp_path / "a.onnx", heads=heads, threshold=0.4)
    report = compare(side((here, here.with_suffix(".weights"))), str(tmp_path / "a.onnx"), threshold=0.4)
    assert report.same
    assert report.boxes is not None
    assert report.boxes.twins == report.boxes.a > 0
    assert [row.number for row in report.rows if row.difference is not None] == ([2] if heads == "raw" else [])
    changed = other_weight((here, here.with_suffix(".weights")), 1, tmp_path)
    report = compare(side(changed), str(tmp_path / "a.onnx"), threshold=0.4)
    assert not report.same
    assert report.first is None if heads != "raw" else first(report) == 2
    assert not report.boxes or not report.boxes.same
    with pytest.raises(DarknetError, match="reads images of 64x64 alone"):
        compare(side(changed), str(tmp_path / "a.onnx"), size=(96, 96))


def test_a_library_that_ends_is_quoted(tmp_path: pathlib.Path, tiny: Files) -> None:
    prefix = pjreddie()
    loading.save(loading.load(*tiny), tmp_path / "a.pt")
    with pytest.raises(DarknetError, match=r"expected CFG,WEIGHTS \(see convert\)"):
        compare(side(tiny), f"{prefix}{tmp_path / 'a.pt'}", size=SIZE)
    config = cfg.load(tiny[0])
    (tmp_path / "b.cfg").write_text(cfg.dumps(config).replace("leaky", "mish"))  # which his code does not know
    net = loading.load(tmp_path / "b.cfg", dialect="alexeyab")
    x = torch.rand(1, *net.shape)
    with pytest.raises(DarknetError, match=r"libdarknet.so: ended with status"):
        libdarknet.run(DEBIAN, net, tmp_path / "missing.weights", x, 0.25, 0.45)
