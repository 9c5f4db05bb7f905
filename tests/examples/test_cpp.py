"""examples/cpp: the program finds the boxes of ``Detector``, in stretched and letterboxed images.

ONNX Runtime's headers are in no package of Python: ``ONNXRUNTIME`` names the folder of a release with both.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

import darknet_py
from darknet_py.detector import Detector
from tests.helpers import paths, served_digits

pytest.importorskip("onnxscript", reason="export to ONNX needs onnxscript: pip install 'darknet-torch[export]'")
pytestmark = pytest.mark.slow

PIXELS = 0.01  # of a corner: rounding in another order


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The compiled program."""
    folder = os.environ.get("ONNXRUNTIME", "")
    if not pathlib.Path(folder, "include", "onnxruntime_cxx_api.h").is_file():
        pytest.skip("needs a release of ONNX Runtime with headers: set ONNXRUNTIME to its folder")
    if not (shutil.which("cmake") and shutil.which("g++") and pathlib.Path("/usr/include/opencv4").is_dir()):
        pytest.skip("needs cmake, g++ and OpenCV's headers: apt install cmake g++ libopencv-dev")
    build = tmp_path_factory.mktemp("build")
    source = paths.ROOT / "examples" / "cpp"
    flags = [f"-DONNXRUNTIME={folder}", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror"]
    for command in (["cmake", "-S", str(source), "-B", str(build), *flags], ["cmake", "--build", str(build)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "detect"


def run(program: pathlib.Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True, check=False)


def compare(program: pathlib.Path, detector: Detector, model: pathlib.Path, image: pathlib.Path) -> None:
    """Compare the lines of the program with the detector's results."""
    done = run(program, model, image, detector.options.threshold, detector.nms)
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=5) for line in done.stdout.splitlines()]
    expected = detector(image).summary()
    assert len(expected) > 2
    assert [line[5] for line in lines] == [each["name"] for each in expected]
    found = np.array([line[:5] for line in lines], float)
    boxes = [[each["confidence"], *each["box"].values()] for each in expected]
    np.testing.assert_allclose(found[:, 0], np.array(boxes)[:, 0], atol=2e-5)
    np.testing.assert_allclose(found[:, 1:], np.array(boxes)[:, 1:], atol=PIXELS)


@pytest.mark.parametrize("letterbox", [False, True])
def test_digits(program: pathlib.Path, letterbox: bool, tmp_path: pathlib.Path) -> None:
    (tmp_path / "digits.png").write_bytes(served_digits.wide_png())
    detector = Detector("digits", letterbox=letterbox, threshold=0.05)
    darknet_py.export(
        detector.network, tmp_path / "digits.onnx", heads="boxes", letterbox=letterbox, names=detector.names
    )
    compare(program, detector, tmp_path / "digits.onnx", tmp_path / "digits.png")


def test_a_photograph(
    program: pathlib.Path, yolov4_tiny_weights: pathlib.Path, shared: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    network = darknet_py.load(paths.CFGS / "yolov4-tiny.cfg", yolov4_tiny_weights, device="cpu")
    detector = Detector(network, names=paths.CFGS / "coco.names", threshold=0.1)
    darknet_py.export(detector.network, tmp_path / "a.onnx", heads="boxes", dynamic="batch", names=detector.names)
    compare(program, detector, tmp_path / "a.onnx", shared / "data" / "photographs" / "dog.jpg")


def test_what_it_does_not_run_is_one_sentence(program: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = run(program, tmp_path / "a.onnx", tmp_path / "a.png")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("detect: ")
    assert run(program).returncode == 2
