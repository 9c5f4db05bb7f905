"""Importing the package does nothing, and reading text does not load torch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT


def run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("module", ["darknet_py", "darknet_py.cfg", "darknet_py.cfg.schema", "darknet_py.errors"])
def test_torch_is_not_loaded_to_read_text(module: str) -> None:
    done = run(f"import sys, {module}; sys.exit('torch' in sys.modules)")
    assert done.returncode == 0, done.stderr or "torch was imported"


ON_IMPORT = """
import sys, threading, torch, numpy, PIL.Image
acted = []
def watch(event, args):
    if event.split(".")[0] in ("socket", "subprocess", "urllib") or event == "os.system":
        acted.append(event)
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        acted.append(f"open {args[0]}")
threads, state = threading.active_count(), torch.random.get_rng_state()
sys.addaudithook(watch)
import darknet_py
for name in darknet_py.__all__:
    getattr(darknet_py, name)
assert not acted, acted
assert threading.active_count() == threads
assert torch.equal(state, torch.random.get_rng_state())
assert not torch.cuda.is_initialized()
assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
"""


def test_importing_does_nothing() -> None:
    done = run(ON_IMPORT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
