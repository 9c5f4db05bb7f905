"""NNCF sends no statistics, prints nothing, and leaves signals and its logger as they were."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

from darknet_py.demo.digits import load_samples, render_image
from tests.helpers import paths

PROGRAM = """
import faulthandler, logging, signal, sys
faulthandler.enable()  # it sets a signal stack, as pytest does

import darknet_py as dk
from darknet_py.quantization.openvino_int8 import import_nncf

logger = import_nncf().nncf_logger
level = logger.level
received = []
signal.signal(signal.SIGINT, lambda *_: received.append(1))
result = dk.export_int8(dk.load("digits"), "a.xml", "images", calibration_images=2, repeats=1)
signal.raise_signal(signal.SIGINT)
print(received, logger.level == level, "openvino_telemetry" in sys.modules, result.layers)
"""


@pytest.mark.slow
def test_a_quantisation_leaves_the_process_as_it_was(tmp_path: pathlib.Path) -> None:
    for package in ("nncf", "openvino"):
        if importlib.util.find_spec(package) is None:
            pytest.skip("int8 for OpenVINO needs it: pip install 'darknet-torch[int8]'")
    from PIL import Image

    (tmp_path / "images").mkdir()
    for number in range(2):
        image, _ = render_image(load_samples()["valid"], number=number)
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(paths.ROOT)}
    line = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[1] True False 14\n"), done.stderr
    assert not (tmp_path / "intel").exists(), "a client ID for statistics"


def test_a_missing_package_is_one_sentence(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from darknet_py.errors import DarknetError
    from darknet_py.quantization.int8_export import export_int8
    from tests.helpers import int8_models

    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(
        DarknetError, match=r"^int8 for OpenVINO needs the package nncf: pip install 'darknet-torch\[int"
    ):
        export_int8(int8_models.digits(), tmp_path / "a.xml", tmp_path)
