"""A device that this machine does not have is one error, in every command and in the API."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import darknet_py
from darknet_py import cli
from darknet_py.commands import _training
from darknet_py.devices import find_device
from darknet_py.errors import DarknetError
from darknet_py.training.options import TrainOptions
from tests.helpers import paths

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without CUDA")
CFG, WEIGHTS = str(paths.CFGS / "digits.cfg"), str(paths.CFGS / "digits.weights")


@pytest.fixture
def image(tmp_path: pathlib.Path) -> str:
    Image.fromarray(np.zeros((96, 96, 3), np.uint8)).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


@pytest.fixture
def data(tmp_path: pathlib.Path, image: str) -> str:
    (tmp_path / "list.txt").write_text(f"{image}\n")
    (tmp_path / "names.txt").write_text("\n".join(map(str, range(10))))
    path = tmp_path / "a.data"
    path.write_text(f"classes=10\ntrain={tmp_path}/list.txt\nnames={tmp_path}/names.txt\nbackup={tmp_path}\n")
    return str(path)


@no_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:3", "foo", "cpu:x", "", "mps"])
def test_a_device_that_is_not_there_is_one_error(device: str) -> None:
    with pytest.raises(
        DarknetError, match=rf"^device: expected auto or one of this machine's \(cpu\), got '{device}'$"
    ):
        darknet_py.load(CFG, WEIGHTS, device=device)


@no_gpu
def test_auto_is_the_cpu_without_a_gpu() -> None:
    assert find_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(("cuda", "mps", "name"), [(False, True, "mps"), (True, True, "cuda"), (True, False, "cuda")])
def test_auto_takes_the_fastest(cuda: bool, mps: bool, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch, "empty", lambda *_, device: device)
    assert find_device("auto").type == name


@no_gpu
@pytest.mark.parametrize("command", ["detect", "evaluate", "classify", "benchmark"])
def test_every_command_refuses_it(command: str, image: str, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    sources = {"detect": [image], "evaluate": [data], "classify": [image]}.get(command, [])
    assert cli.main([command, CFG, WEIGHTS, *sources, "--device", "cuda"]) == 1
    assert "device: expected auto or one of this machine's (cpu), got 'cuda'" in capsys.readouterr().err


@no_gpu
@pytest.mark.parametrize("arguments", [["-i", "0"], ["-gpus", "0"], ["-gpus", "0,1"]])
def test_darknets_options_run_on_the_cpu_with_a_note(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    devices = []

    def train(_cfg: str, _data: str, options: TrainOptions, **_: Any) -> int:
        devices.append(options.device)
        return 0

    monkeypatch.setattr(_training, "train", train)
    assert cli.main(["detector", "train", "a.data", CFG, *arguments]) == 0
    assert devices == ["cpu"]
    note = f"darknet-py: note: {' '.join(arguments)}: no such GPU; the CPU is used\n"
    assert capsys.readouterr().err.count(note) == 1


@no_gpu
def test_darknets_test_command_runs_on_the_cpu(
    data: str, image: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["detector", "test", data, CFG, WEIGHTS, image, "-dont_show", "-i", "0"]) == 0
    assert "-i 0: no such GPU; the CPU is used" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["torch", "openvino", "auto"])
def test_an_unknown_precision_is_one_error(engine: str) -> None:
    detector = darknet_py.Detector(darknet_py.load(CFG, WEIGHTS), dtype="int8", engine=engine)
    with pytest.raises(DarknetError, match=r"dtype: expected one of fp32, bf16, fp16, got 'int8'"):
        detector(np.zeros((96, 96, 3), np.uint8))
