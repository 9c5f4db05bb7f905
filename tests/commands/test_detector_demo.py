"""``detector demo``: Darknet's line for videos, what it prints and the files it writes."""

from __future__ import annotations

import json
import pathlib
import re
import signal
import sys
import types

import numpy as np
import pytest
from PIL import Image

from darknet_py import cli
from darknet_py.video.reader import open_video
from tests.commands.test_cli import model
from tests.helpers import tiny_videos

pytest.importorskip("av", reason="videos are read with PyAV: pip install 'darknet-torch[video]'")

__all__ = ["model"]  # a fixture


def line(model: tuple[str, str], *more: str) -> list[str]:
    return ["detector", "demo", "tiny.data", *model, *more, "-i", "-1", "-dont_show"]


def test_output_and_files_are_those_of_darknet(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    tiny_videos.write_video(pathlib.Path("clip.mp4"), 6)
    files = ["-out_filename", "res.avi", "-prefix", "f", "-json_file_output", "out.json"]
    assert cli.main(line(model, "clip.mp4", "-thresh", "0.5", "-ext_output", *files)) == 0
    out = capsys.readouterr().out
    assert out.startswith("video file: clip.mp4\nObjects:\n\n")
    assert out.endswith("\ninput video stream closed. \n")
    box = r"dog: 98% \t\(left_x:   36   top_y:   24   width:   24   height:   16\)"
    frame = rf"Objects:\n\n{box}\n\nFPS:\d+\.\d \t AVG_FPS:\d+\.\d\n"
    assert len(re.findall(frame, out)) == out.count("Objects:") == 6
    frames = json.loads(pathlib.Path("out.json").read_text())
    assert [one["frame_id"] for one in frames] == list(range(1, 7))
    assert "filename" not in frames[0]
    assert frames[5]["objects"][0]["name"] == "dog"
    images = sorted(path.name for path in pathlib.Path().glob("f_*"))
    assert images == [f"f_{number:08}.jpg" for number in range(1, 7)]
    with Image.open("f_00000003.jpg") as image:
        changed = np.abs(np.asarray(image).astype(int) - tiny_videos.render_frame(2)).max(axis=2) > 60
    assert changed[24:40, 36].all()  # the left edge of the box
    with open_video("res.avi") as video:
        assert (video.fps, video.frame_count) == (tiny_videos.FPS, 6)
        assert [one.timestamp for one in video] == pytest.approx([number / 25 for number in range(6)])


def test_dontdraw_bbox_writes_frames_without_boxes(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    tiny_videos.write_video(pathlib.Path("clip.mp4"), 2)
    assert cli.main(line(model, "clip.mp4", "-prefix", "f", "-dontdraw_bbox", "-out_filename", "res.mp4")) == 0
    assert capsys.readouterr().out.count("dog: 98% \n") == 2
    with Image.open("f_00000001.jpg") as image:
        assert np.abs(np.asarray(image).astype(int) - tiny_videos.render_frame(0)).max() < 60
    assert pathlib.Path("res.mp4").exists()


class RepeatingCamera:
    """A camera whose frames are those of the clip, repeated."""

    def __init__(self, number: int) -> None:
        self.number, self.frame = number, 0

    def isOpened(self) -> bool:
        return self.number == 3

    def get(self, _: int) -> float:
        return 25.0

    def read(self) -> tuple[bool, object]:
        self.frame = (self.frame + 1) % 20
        return True, tiny_videos.render_frame(self.frame)

    def release(self) -> None:
        pass


def test_a_camera_stops_after_the_time_limit(
    model: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", types.SimpleNamespace(VideoCapture=RepeatingCamera, CAP_PROP_FPS=5))
    assert cli.main(line(model, "-c", "3", "-time_limit_sec", "1", "-json_file_output", "out.json")) == 0
    assert capsys.readouterr().out.startswith("Webcam index: 3\nObjects:\n\ndog: 98% \n")
    assert len(json.loads(pathlib.Path("out.json").read_text())) > 1
    assert tiny_videos.reader_threads_have_ended()
    assert cli.main(line(model)) == 1
    assert capsys.readouterr().err == "darknet-py: camera 0: not found, or in use by another program\n"


class InterruptedCamera(RepeatingCamera):
    """A camera that raises SIGINT, as Ctrl-C does, once detections have been written."""

    pressed = False

    def read(self) -> tuple[bool, object]:
        written = pathlib.Path("out.json")  # may not exist yet: the camera is read by another thread
        if not self.pressed and written.exists() and written.stat().st_size > 300:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)
        return super().read()


def test_ctrl_c_leaves_complete_files(model: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", types.SimpleNamespace(VideoCapture=InterruptedCamera, CAP_PROP_FPS=5))
    assert cli.main(line(model, "-c", "3", "-json_file_output", "out.json", "-out_filename", "res.avi")) == 130
    frames = json.loads(pathlib.Path("out.json").read_text())
    with open_video("res.avi") as video:
        assert video.frame_count >= len(frames) > 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["none.mp4"], "none.mp4: No such file or directory"),
        (["clip.mp4", "-out_filename", "x.gif"], "x.gif: expected a file name that ends in .avi, .m4v, .mkv, "),
        (["clip.mp4", "-json_file_output", "no/x"], "no/x: No such file or directory"),
        (["clip.mp4", "-prefix", "no/f"], "no/f_00000001.jpg: No such file or directory"),
    ],
)
def test_invalid_command_lines_are_refused(
    more: list[str], message: str, model: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_videos.write_video(pathlib.Path("clip.mp4"), 2)
    assert cli.main(line(model, *more)) == 1
    assert f"darknet-py: {message}" in capsys.readouterr().err
