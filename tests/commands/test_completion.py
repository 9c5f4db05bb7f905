"""Shell completion: the script is valid, and completes verbs, functions, options and files."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest

from darknet_py import cli

pytest.importorskip("shtab", reason="the script is written by shtab: pip install 'darknet-torch[completion]'")
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="runs the script in bash")
COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_darknet_py
printf "%s\\n" "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The script for bash."""
    path = tmp_path_factory.mktemp("completion") / "darknet-py"
    done = subprocess.run(
        [sys.executable, "-m", "darknet_py", "--print-completion", "bash"], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    path.write_text(done.stdout)
    return path


@needs_bash
def test_the_script_is_valid(script: pathlib.Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)


@needs_bash
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("de", {"detect", "detector", "denormalize"}),
        ("detector t", {"test", "train"}),
        ("detector test -th", {"-thresh"}),
        ("detector test my.d", {"my.data"}),
        ("yolo t", {"test", "train"}),
        ("detect --cl", {"--class-conf", "--classes", "--clip"}),
        ("detect my.c", {"my.cfg"}),
        ("export my.cfg --heads n", {"nms"}),
        ("data co", {"convert"}),
    ],
)
def test_words_are_completed(script: pathlib.Path, tmp_path: pathlib.Path, line: str, expected: set[str]) -> None:
    for name in ("my.cfg", "my.data"):
        (tmp_path / name).touch()
    command = ["bash", "-c", COMPLETE, "bash", str(script), "darknet-py", *line.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected


def test_without_shtab_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["--print-completion", "bash"]) == 1
    assert capsys.readouterr().err.endswith("shell completion needs shtab: pip install 'darknet-torch[completion]'\n")
