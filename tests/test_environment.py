"""Names and disks as they come: each problem is one sentence of a DarknetError."""

from __future__ import annotations

import errno
import functools
import os
import pathlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import darknet_py
from darknet_py import cfg, cli
from darknet_py.conversion.checkpoints import convert
from darknet_py.data.formats import load_dataset
from darknet_py.demo.digits import write_dataset
from darknet_py.errors import DarknetError, DataError, WeightsError
from darknet_py.evaluation import plots
from darknet_py.evaluation.evaluator import evaluate
from darknet_py.exporters.exporter import export
from darknet_py.hub import catalogue
from darknet_py.network import Network
from darknet_py.video.reader import open_video
from darknet_py.video.writer import VideoWriter
from tests.helpers import synthetic_data, tiny_videos, training_runs
from tests.helpers.full_disk import full_disk

NUL = "a\0b"


@functools.cache
def _network() -> Network:
    return darknet_py.load("digits")


def _train(**options: Any) -> None:
    folder = pathlib.Path()
    training_runs.run(synthetic_data.cfg(folder, max_batches=1), folder / "none.data", **options)


def _write_video(path: str, frames: int = 1) -> None:
    with VideoWriter(path, Fraction(25)) as writer:
        for number in range(frames):
            noise = np.random.default_rng(number).integers(0, 255, (96, 128, 3), np.uint8)
            writer.write(noise, number / 25)


@pytest.mark.parametrize(
    "call",
    [
        lambda: cfg.load(NUL),
        lambda: darknet_py.load(f"{NUL}.cfg"),
        lambda: darknet_py.load("digits", NUL),
        lambda: darknet_py.load(f"{NUL}.pt"),
        lambda: darknet_py.load(f"{NUL}.safetensors"),
        lambda: darknet_py.save(_network(), f"{NUL}.weights"),
        lambda: darknet_py.save(_network(), f"{NUL}.pt"),
        lambda: darknet_py.Detector(_network())(NUL),
        lambda: darknet_py.Detector(_network(), names=NUL),
        lambda: export(_network(), f"{NUL}.onnx"),
        lambda: convert(f"{NUL}.weights", "b.pt", cfg="digits"),
        lambda: load_dataset(f"{NUL}.data", "train"),
        lambda: load_dataset(f"{NUL}.txt", "train"),
        lambda: write_dataset(NUL, train=1, valid=1, progress=False),
        lambda: _train(output=NUL),
        lambda: _train(name=NUL),
        lambda: _train(weights=NUL),
        lambda: open_video(f"{NUL}.mp4"),
        lambda: _write_video(f"{NUL}.mp4"),
    ],
)
def test_a_nul_character_in_a_path_is_a_darknet_error(
    call: Callable[[], object], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DarknetError):
        call()
    assert os.listdir(tmp_path) in ([], ["tiny.cfg"], ["backup", "tiny.cfg"])


def test_names_with_the_signs_of_formulas_are_drawn(
    tmp_path: pathlib.Path, rectangles: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    plain = synthetic_data.cfg(tmp_path, max_batches=2)
    odd = tmp_path / "a$b^$c.cfg"
    plain.rename(odd)
    network = training_runs.run(odd, rectangles / "tiny.data", output=tmp_path, chart=None)
    assert (tmp_path / "chart_a$b^$c.png").exists()
    names = ("a$b^$c", *(f"$_{number}$" for number in range(1, network.heads[0].classes)))
    evaluation = evaluate(network, rectangles / "tiny.data", names=names, min_score=0.0, progress=False)
    assert len(plots.write(evaluation, tmp_path / "plots")) == 5


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_a_video_on_a_full_disk_leaves_no_file(suffix: str, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("av")
    with full_disk(20_000), pytest.raises(DataError, match=rf"a\{suffix}: File too large"):
        _write_video(str(tmp_path / f"a{suffix}"), frames=60)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("option", ["--json", "--jsonl", pytest.param("--darknet-json", marks=pytest.mark.slow)])
def test_results_on_a_full_disk_are_one_sentence(
    option: str, tmp_path: pathlib.Path, rectangles: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["detect", "digits", str(rectangles), "--conf", "0", "--quiet", option, str(tmp_path / "a.json")]
    with full_disk(2000):
        assert cli.main(line) == 1
    assert capsys.readouterr().err == f"darknet-py: {tmp_path / 'a.json'}: File too large\n"


def test_frames_of_demo_on_a_full_disk_are_one_sentence(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    tiny_videos.write_video(tmp_path / "a.mp4", count=3)
    (tmp_path / "d.data").write_text("classes=10\n")
    model = (str(catalogue.cfg_path("digits")), str(catalogue.path("digits")))
    line = ["detector", "demo", "d.data", *model, "a.mp4", "-thresh", "0", "-json_file_output", "o.json"]
    with full_disk(500):
        assert cli.main(line) == 1
    assert capsys.readouterr().err == "darknet-py: o.json: File too large\n"


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_one_sentence(
    code: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def open_(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(code, os.strerror(code), path)
        return real(path, flags, *args, **options)

    network = _network()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "open", open_)
    with pytest.raises(WeightsError, match=f"a.weights: {os.strerror(code)}"):
        darknet_py.save(network, tmp_path / "a.weights")
    with pytest.raises(DataError, match=f"a.mp4: {os.strerror(code)}"):
        _write_video(str(tmp_path / "a.mp4"))
    with pytest.raises(DataError, match=os.strerror(code)):
        _train(output=tmp_path)
