"""OpenVINO sends no statistics, and releasing engines leaves signals as they were."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

from tests.helpers import paths

pytestmark = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")

PROGRAM = """
import faulthandler, signal, threading
faulthandler.enable()  # it sets a signal stack, as pytest does

import darknet_py as dk
from darknet_py.inference.engines import create_engine

network = dk.load("small.cfg")
first, second = create_engine(network, "openvino"), create_engine(network, "openvino", dtype="bf16")
del first
del second
received = []
signal.signal(signal.SIGTERM, lambda *_: received.append(1))
signal.raise_signal(signal.SIGTERM)
dk.export(network, "small.xml")
print(received)
"""


def test_engines_send_nothing_and_leave_the_signal_stack_of_the_process(tmp_path: pathlib.Path) -> None:
    (tmp_path / "small.cfg").write_text("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=4\nsize=3\n")
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(paths.ROOT)}
    line = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[1]\n"), done.stderr
    assert (tmp_path / "small.xml").exists()
    assert not (tmp_path / "intel").exists(), "a client ID for statistics"
