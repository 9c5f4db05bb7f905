"""The scripts of ``../shared/conformance`` run as they are: they use the public names that other programs use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers import paths


@paths.needs_shared
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("check.py", "rare", "csp0", "head_yolo", "recurrent"), "3 of 3 networks agree with Darknet"),
        (("check_training.py", "training", "yolo_v4_full", "sgdr"), "2 of 2 networks train as Darknet trains them"),
        (
            ("check_training.py", "training_cpu", "dense", "--gradients", "darknet-cpu"),
            "1 of 1 networks train as Darknet trains them",
        ),
    ],
)
def test_scripts_agree(words: tuple[str, ...], message: str) -> None:
    script, folder, *options = words
    line = [sys.executable, str(paths.CONFORMANCE / script), str(paths.CONFORMANCE / folder), *options]
    environment = {"PYTHONPATH": str(paths.ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.splitlines()[-1:] == [message], done.stdout + done.stderr
