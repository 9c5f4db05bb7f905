"""Idle threads leave their cores to others."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from darknet_py.runtimes.onnxruntime_models import OnnxModel

CODE = """
import os
from darknet_py.inference.openmp import limit_spinning
before = limit_spinning()
import torch
os.environ.pop("GOMP_SPINCOUNT", None)
print(before, limit_spinning())
"""


def run(*command: str, **environment: str) -> str:
    others = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=others | environment, check=True
    )
    return done.stdout.strip()


def test_it_is_set_before_torch_is_imported_only() -> None:
    assert run("-c", CODE) == "True False"


@pytest.mark.parametrize("setting", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
def test_settings_of_the_environment_stay(setting: dict[str, str]) -> None:
    code = "import os, darknet_py.cli as cli; cli.main(['--version']); print(os.environ.get('GOMP_SPINCOUNT'))"
    assert run("-c", code, **setting).splitlines()[-1] == setting.get("GOMP_SPINCOUNT", "None")
    assert run("-c", code).splitlines()[-1] == "30000"


def test_threads_of_onnx_runtime_sleep_after_a_call() -> None:
    pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    side = 512
    names = {name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [side, side]) for name in "xyz"}
    nodes = [onnx.helper.make_node("MatMul", ["x", "y"], ["z"])]
    graph = onnx.helper.make_graph(nodes, "product", [names["x"], names["y"]], [names["z"]])
    opset = onnx.helper.make_opsetid("", 18)
    model = OnnxModel(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString(), threads=2)
    seconds = []
    for _ in range(3):
        model.run([np.ones((side, side), np.float32)] * 2)
        started = time.process_time()
        time.sleep(0.05)
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.005  # 0.03 otherwise
