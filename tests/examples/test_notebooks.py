"""The notebooks are valid, are stored without outputs, and run from top to bottom in an empty folder.

The code cells are run in one Python process. ``pytest -m slow`` runs them by Jupyter's kernel, too, if it is installed:
``pip install -c constraints.txt '.[release]'``.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "notebooks"
NAMES = ("detect", "train", "export")
# What makes the training fast; every text must occur.
SMALLER = {
    "--train-images 400": "--train-images 12",
    "--valid-images 100": "--valid-images 4",
    "max_batches=600": "max_batches=2",
    "burn_in=50": "burn_in=1",
    "steps=450,550": "steps=1,2",
}
SHELL = """
import subprocess

def shell(line):
    subprocess.run(line, shell=True, check=True)

"""
REQUIRED = {"export": ("onnx", "onnxscript", "onnxruntime")}


def read(name: str) -> dict[str, Any]:
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    if name == "train":
        for old, new in SMALLER.items():
            assert old in text
            text = text.replace(old, new)
    notebook: dict[str, Any] = json.loads(text)
    return notebook


def code_cells(name: str) -> list[str]:
    return ["".join(cell["source"]) for cell in read(name)["cells"] if cell["cell_type"] == "code"]


def test_every_notebook_is_listed() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_valid(name: str) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(read(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_no_outputs(name: str) -> None:
    for cell in read(name)["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def require(name: str, request: pytest.FixtureRequest) -> None:
    for package in REQUIRED.get(name, ()):
        pytest.importorskip(package, reason="an extra that the notebook uses is not installed")
    if name != "train":
        request.getfixturevalue("yolov4_tiny_weights")


def environment() -> dict[str, str]:
    """``darknet-py`` of this checkout, whatever is installed."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "detect" else pytest.mark.slow) for name in NAMES]
)
def test_a_notebook_runs_in_python(name: str, tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> None:
    require(name, request)
    code = "\n".join(code_cells(name))
    program = f'"{sys.executable}" -m darknet_py'
    code = re.sub(r"(?m)^!darknet-py (.*)$", lambda match: f"shell({program + ' ' + match[1]!r})", code)
    (tmp_path / "notebook.py").write_text(f"{SHELL}{code}\n", encoding="utf-8")
    line = [sys.executable, "-W", "error::UserWarning", "notebook.py"]
    done = subprocess.run(line, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"detect": "people.jpg", "train": "runs", "export": "yolov4-tiny.onnx"}[name] in os.listdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_in_jupyter(
    name: str, tmp_path: pathlib.Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs Jupyter: pip install -c constraints.txt '.[release]'")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel", reason="needs Jupyter: pip install -c constraints.txt '.[release]'")
    require(name, request)
    script = tmp_path / "bin" / "darknet-py"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m darknet_py "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(script.parent), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    work = tmp_path / "work"
    work.mkdir()
    notebook = nbformat.reads(json.dumps(read(name)), as_version=4)  # joins the lines of a cell
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(work)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs) == (name != "export")
