"""Virtual environments that tests make: empty, of the base install, and of more on top of another."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Container

import pytest

from tests.helpers.paths import ROOT

# What the environment of the tests must not add to another.
_DROPPED = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME", "PIP_EXTRA_INDEX_URL")


def make(folder: pathlib.Path, *layers: pathlib.Path) -> pathlib.Path:
    """Make a virtual environment without pip, on top of the packages of others."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (own,) = (folder / "lib").glob("python*/site-packages")
    below = [str(next((layer / "lib").glob("python*/site-packages"))) for layer in layers]
    (own / "below.pth").write_text("".join(f"{path}\n" for path in below))
    return folder


def pip(environment: pathlib.Path, *arguments: str, unpinned: Container[str] = ()) -> None:
    """Install in an environment the versions of constraints.txt; without a package index the test is skipped."""
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    constraints = environment / "constraints.txt"
    constraints.write_text("\n".join(pin for pin in pins if pin.partition("==")[0] not in unpinned))
    line = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "--no-input", "install", "-q"]
    line += ["--disable-pip-version-check", "--no-compile", "-c", str(constraints), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if "Failed to establish a new connection" in done.stderr:
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr


def install(environment: pathlib.Path, wheel: pathlib.Path, extra: str, unpinned: Container[str] = ()) -> None:
    """Install the wheel, for a ``darknet-py`` that runs in this environment, and what its extra adds to those below."""
    pip(environment, "--no-deps", "--ignore-installed", str(wheel))
    pip(environment, f"{wheel}[{extra}]", unpinned=unpinned)


def build_wheel(folder: pathlib.Path) -> pathlib.Path:
    """Build the wheel of this checkout into an empty folder."""
    line = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("the build needs hatchling, and the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def run(line: str, environment: pathlib.Path, folder: pathlib.Path, **variables: str) -> tuple[int, str]:
    """Run bash lines in a folder, with the programs of an environment; return the exit status and stderr."""
    kept = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    kept |= {"PATH": f"{environment / 'bin'}:{os.environ['PATH']}", "PIP_NO_COMPILE": "1", **variables}
    shell = ["bash", "-eo", "pipefail", "-c", line]
    done = subprocess.run(shell, cwd=folder, env=kept, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr
