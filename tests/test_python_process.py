"""Python in a subprocess imports nothing from the working directory, and this package from where it is."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

import darknet_py
from darknet_py import python_process


def _import(name: str, **options: bool) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", f"import {name}; print({name}.__file__)"]
    environment = python_process.environment(**options)
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("python_path", ["", os.pathsep, os.curdir, "HERE"])
def test_the_working_directory_is_not_imported_from(
    python_path: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted.py").write_text("print('run')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path) if python_path == "HERE" else python_path)
    process = _import("planted")
    assert (process.returncode, process.stdout) == (1, "")


def test_the_package_is_found_in_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    package = pathlib.Path(darknet_py.__file__).resolve()
    monkeypatch.chdir(package.parents[1])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert _import("darknet_py", with_package=True).stdout.strip() == str(package)
