#!/usr/bin/env python3
"""Run the tests of marker ``gpu`` that are not slow, and skip by name those that a time budget has no room for.

python -m benchmarks.gpu_tests [SECONDS [FILE ...]]
"""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

FILES = (
    *("tests/test_simulated_device.py", "tests/test_device_functions.py", "tests/training/test_device_training.py"),
    *("tests/inference/test_fused_network.py", "tests/inference/test_freed_weights.py"),
    *("tests/test_device_examples.py", "tests/layers/test_losses.py", "tests/training/test_training_options.py"),
)


class Budget:
    """A plug-in of pytest.

    Attributes:
        skipped: names of the tests that were skipped.
    """

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.skipped: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip a test that begins too late."""
        if time.monotonic() > self.end:
            self.skipped.append(item.nodeid)
            pytest.skip("out of time")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Name them."""
        for name in self.skipped:
            terminalreporter.write_line(f"out of time: {name}")


def main(seconds: float, *files: str) -> int:
    """Run the tests of some files, without the options and plug-ins of pyproject.toml, which may not be installed."""
    options = ("-q", "-ra", "-o", "addopts=--import-mode=importlib", "-o", "filterwarnings=", "-m", "gpu and not slow")
    return int(pytest.main([*options, *(files or FILES)], plugins=[Budget(seconds)]))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 90.0, *sys.argv[2:]))
