"""``detect`` on videos: rows, JSON lines, the video with boxes, and Ctrl-C."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from darknet_py import cli
from darknet_py.video.reader import open_video
from tests.commands.test_cli import model
from tests.helpers import tiny_videos

pytest.importorskip("av", reason="videos are read with PyAV: pip install 'darknet-torch[video]'")

__all__ = ["model"]  # a fixture

ROOT = pathlib.Path(__file__).resolve().parents[2]


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]


def test_detect_writes_rows_json_lines_and_the_video_with_boxes(
    model: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_videos.write_video(pathlib.Path("clip.mp4"), 8)
    line = ["detect", *model, "clip.mp4", "--names", "tiny.names", "--save", "out", "--jsonl", "detections.jsonl"]
    assert cli.main(line) == 0
    streams = capsys.readouterr()
    rows = streams.out.splitlines()
    assert len(rows) == 16
    assert rows[2].startswith("clip.mp4#1 at 0.040 s: 96x64, 1 detection, ")
    assert rows[3].split() == ["dog", "97.5%", "36", "24", "24", "16"]
    assert streams.err == "video in out/clip.mp4\n"
    frames = lines("detections.jsonl")
    assert [(one["path"], one["index"], one["timestamp"]) for one in frames] == [
        ("clip.mp4", number, number / 25) for number in range(8)
    ]
    assert frames[0]["boxes"][0]["name"] == "dog"
    with open_video("out/clip.mp4") as video:
        assert (video.fps, video.frame_count) == (tiny_videos.FPS, 8)
        drawn = next(video).image
    assert np.abs(drawn.astype(int) - tiny_videos.render_frame(0)).max() > 100


def test_json_lines_on_stdout_replace_the_text(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    tiny_videos.write_video(pathlib.Path("clip.mp4"), 8)
    line = ["detect", *model, "a.png", "clip.mp4", "--jsonl", "-", "--stride", "3", "--max-frames", "2", "--every"]
    assert cli.main(line) == 0
    frames = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [one.get("index") for one in frames] == [None, 0, 3]
    assert "timestamp" not in frames[0]


def test_classes_scores_and_boxes_of_frames_are_selected(
    model: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_videos.write_video(pathlib.Path("clip.mp4"), 2)
    line = ["detect", *model, "clip.mp4", "--names", "tiny.names", "--jsonl", "-"]
    for options, count in (
        ([], 1),
        (["--classes", "cat"], 0),
        (["--skip-classes", "dog"], 0),
        (["--class-conf", "dog=0.99"], 0),
        (["--max-det", "1", "--agnostic-nms", "--clip"], 1),
    ):
        assert cli.main([*line, *options]) == 0
        frames = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
        assert [len(one["boxes"]) for one in frames] == [count, count]


def test_videos_of_one_name_do_not_overwrite_each_other(model: tuple[str, str]) -> None:
    for folder in ("x", "y"):
        pathlib.Path(folder).mkdir()
        tiny_videos.write_video(pathlib.Path(folder) / "clip.mp4", 2)
    assert cli.main(["detect", *model, "*/clip.mp4", "--save", "out", "--quiet", "--tile"]) == 0
    assert sorted(path.name for path in pathlib.Path("out").iterdir()) == ["clip.mp4", "clip_2.mp4"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["none.mp4"], "none.mp4: no such file or folder"),
        (["a.png", "*.mkv"], "*.mkv: nothing matches"),
        (["clip.mp4", "--json", "x"], "--json: for images only; use --jsonl FILE or --csv FILE for videos"),
        (["clip.mp4", "--max-frames", "0"], "--max-frames: expected 1 or more, got 0"),
        (["clip.mp4", "--stride", "0"], "--stride: expected 1 or more, got 0"),
        (["a.png", "--tile", "1"], "overlap of tiles: expected 0..0.9, got 1.0"),
        (["a.png", "--jsonl", "none/x"], "none/x: No such file or directory"),
    ],
)
def test_invalid_command_lines_are_refused(
    line: list[str], message: str, model: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_videos.write_video(pathlib.Path("clip.mp4"), 2)
    assert cli.main(["detect", *model, *line]) == 1
    assert capsys.readouterr().err == f"darknet-py: {message}\n"


@pytest.mark.skipif(os.name == "nt", reason="a process there cannot be sent Ctrl-C alone")
def test_ctrl_c_leaves_complete_lines_and_a_complete_video(model: tuple[str, str]) -> None:
    tiny_videos.write_video(pathlib.Path("clip.mp4"), 3000)
    line = ["detect", *model, "clip.mp4", "--save", "out", "--jsonl", "detections.jsonl", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "darknet_py", *line],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    target = pathlib.Path("detections.jsonl")
    for _ in range(1200):
        if process.poll() is not None or (target.exists() and target.read_text().count("\n") > 5):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "video in out/clip.mp4\ndarknet-py: stopped\n")
    frames = lines("detections.jsonl")
    assert 5 < len(frames) < 3000
    assert [one["index"] for one in frames] == list(range(len(frames)))
    with open_video("out/clip.mp4") as video:
        assert len(list(video)) == len(frames)
    assert [path.name for path in pathlib.Path("out").iterdir()] == ["clip.mp4"]
