"""Files survive kills: the short form of ``python -m tools.kill_test``."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from tests.helpers import paths, training_runs


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_kills_damage_no_file_and_change_no_weight(tmp_path: pathlib.Path) -> None:
    """In a process of its own, which has no other threads when it forks."""
    line = [sys.executable, "-W", "error", "-m", "tools.kill_test", "--kills", "8", "--seed", "1"]
    environment = training_runs.environment() | {"TMPDIR": str(tmp_path)}
    process = subprocess.run(
        line, cwd=paths.ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "\n0 failed checks" in process.stdout
