"""The guides run from top to bottom: every command and every Python block, with fewer images and iterations."""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from darknet_py import cli
from darknet_py.demo import digits

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What makes the commands of the first page fast; every text must occur in it.
SMALLER = {
    "--train-images 400": "--train-images 16",
    "--valid-images 100": "--valid-images 8",
    "max_batches=600": "max_batches=4",
    "burn_in=50": "burn_in=1",
    "steps=450,550": "steps=2,3",
    "max_batches=1500": "max_batches=6",
    "steps=1200,1400": "steps=4,5",
}


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and content of the fenced blocks of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_train_on_your_own_images(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("matplotlib", "onnx", "onnxscript"):
        pytest.importorskip(package, reason="an extra that the page uses is not installed")
    monkeypatch.chdir(tmp_path)
    seen = ""
    for language, content in blocks("own-images.md"):
        seen += content
        for old, new in SMALLER.items():
            content = content.replace(old, new)
        if language == "python":
            exec(compile(content, "docs/own-images.md", "exec"), {})
        for line in content.splitlines() if language == "sh" else ():
            program, *arguments = shlex.split(line)
            assert program == "darknet-py"
            assert cli.main(arguments) == 0, line
    assert not [text for text in SMALLER if text not in seen]
    streams = capsys.readouterr()
    assert "resuming" in streams.err
    assert "verified" in streams.out
    assert {path.name for path in tmp_path.iterdir()} == {"set", "my.cfg", "runs", "report", "detected", "my.onnx"}
    assert {"chart_my.png", "my_log.csv", "my_best.weights", "my_final.weights"} <= {
        path.name for path in (tmp_path / "runs").iterdir()
    }


def test_for_pytorch_users(tmp_path: pathlib.Path) -> None:
    digits.write_dataset(tmp_path / "set", 16, 2)
    codes = [content for language, content in blocks("pytorch.md") if language == "python"]
    assert len(codes) == 10
    for number, code in enumerate(codes):
        (tmp_path / f"{number}.py").write_text(code)
    run = "import runpy, sys\nfor name in sys.argv[1:]:\n    runpy.run_path(name, run_name='__main__')"
    # one process for all blocks: it registers a section type, which would be seen by other tests
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", run, *(f"{number}.py" for number in range(len(codes)))],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    for expected in (
        "[(1, 64, 12, 12), (1, 48, 6, 6)]",
        "[(1, 45, 6, 6), (1, 45, 12, 12)]",
        "19\n",
        "16 3x3/2 mish",
        "layer_scale",
    ):
        assert expected in done.stdout
    assert re.search(r"^\[\d+, \d+\]$", done.stdout, re.MULTILINE)  # of the forked processes
    assert {"cam.png", "mine.weights", "scaled.weights"} <= {path.name for path in tmp_path.iterdir()}
