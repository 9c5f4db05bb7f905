"""Videos: every frame or the newest one, what is no video, cameras, and videos that are written."""

from __future__ import annotations

import pathlib
import sys
import types
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from darknet_py.errors import DataError
from darknet_py.video import reader
from darknet_py.video.capture import is_video
from darknet_py.video.writer import VideoWriter
from tests.helpers import tiny_videos

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'darknet-torch[video]'")


@pytest.fixture
def clip(tmp_path: pathlib.Path) -> pathlib.Path:
    return tiny_videos.write(tmp_path / "clip.mp4")


@pytest.mark.parametrize("name", ["0", "12", "/dev/video0", "a.mp4", "b/*.MKV", "rtsp://h/x", "http://h/v", "x.webm"])
def test_is_a_video(name: str) -> None:
    assert is_video(name)


@pytest.mark.parametrize("name", ["a.jpg", "a.gif", "photos/", "*.png", "list.txt", "mp4", "sample:bus", "0.jpg"])
def test_is_none(name: str) -> None:
    assert not is_video(name)


def test_a_file_called_0_is_no_camera(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("0").touch()
    assert not is_video("0")


def test_every_frame_of_a_file_with_its_time(clip: pathlib.Path) -> None:
    with reader.frames(clip) as feed:
        assert (feed.live, feed.rate, feed.count) == (False, tiny_videos.RATE, 20)
        found = list(feed)
    assert [frame.number for frame in found] == list(range(20))
    assert [frame.timestamp for frame in found] == pytest.approx([number / 25 for number in range(20)], abs=1e-5)
    assert [tiny_videos.place(frame.image) for frame in found] == pytest.approx(range(20), abs=0.3)
    assert found[0].image.shape == (64, 96, 3)
    assert found[0].image.dtype == np.uint8
    assert tiny_videos.no_thread_is_left()


def test_a_slow_reader_bounds_the_queue_and_misses_nothing(clip: pathlib.Path) -> None:
    feed = reader.frames(clip, depth=2)
    feed._thread.join(timeout=0.5)
    assert feed._thread.is_alive()
    assert len(feed._queue._waiting) == 2
    assert [number for number, _, _ in feed] == list(range(20))


def test_the_newest_frame_alone(clip: pathlib.Path) -> None:
    feed = reader.frames(clip, latest=True)
    feed._thread.join()  # the whole clip has gone by
    number, timestamp, image = next(feed)
    assert number == 19
    assert timestamp == pytest.approx(19 / 25, abs=1e-5)
    assert tiny_videos.place(image) == pytest.approx(19, abs=0.3)
    assert list(feed) == []


def test_stride(clip: pathlib.Path) -> None:
    assert [frame.number for frame in reader.frames(clip, stride=7)] == [0, 7, 14]


def test_a_feed_that_is_closed_or_forgotten_leaves_no_thread(clip: pathlib.Path) -> None:
    with reader.frames(clip) as feed:
        next(feed)
    assert list(feed) == []
    for _ in reader.frames(clip):
        break
    assert tiny_videos.no_thread_is_left()


def test_a_turned_video_is_turned(clip: pathlib.Path) -> None:
    content = bytearray(clip.read_bytes())
    at = content.index(b"tkhd") + 44  # the matrix of the track: a quarter turn clockwise, as phones write it
    one = 0x10000
    matrix = (0, one, 0, -one & 0xFFFFFFFF, 0, 0, 0, 0, 0x40000000)
    content[at : at + 36] = b"".join(value.to_bytes(4, "big") for value in matrix)
    clip.write_bytes(content)
    image = next(reader.frames(clip)).image
    assert image.shape == (96, 64, 3)
    assert np.abs(image.astype(int) - np.rot90(tiny_videos.image(0), -1)).mean() < 6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.mp4", "none.mp4: No such file or directory"),
        ("text.mp4", "text.mp4: not a video that FFmpeg reads, or a broken one"),
        ("http://127.0.0.1:9/x", "http://127.0.0.1:9/x: Connection refused"),
    ],
)
def test_what_cannot_be_opened(
    name: str, message: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("text.mp4").write_text("no video " * 999)
    with pytest.raises(DataError, match=f"^{message}$"):
        reader.frames(name)


@pytest.mark.parametrize(("package", "name"), [("av", "a.mp4"), ("cv2", "0")])
def test_a_missing_package_is_named(package: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=r"needs (PyAV|OpenCV): pip install 'darknet-torch\[video\]'"):
        reader.frames(name)


@pytest.mark.parametrize("options", [{"stride": 0}, {"depth": 0}, {"reconnect": -1}])
def test_odd_numbers_are_refused(options: dict[str, Any], clip: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"expected . or more, got"):
        reader.frames(clip, **options)


def test_a_camera_is_read_by_opencv(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Device:
        def __init__(self, name: int | str) -> None:
            self.name, self.left = name, 3

        def isOpened(self) -> bool:
            return self.name == 0

        def get(self, key: int) -> float:
            return 30.0

        def read(self) -> tuple[bool, Any]:
            self.left -= 1
            return self.left >= 0, np.array([[[1, 2, 3]]], np.uint8)

        def release(self) -> None:
            self.left = 0

    monkeypatch.setitem(sys.modules, "cv2", types.SimpleNamespace(VideoCapture=Device, CAP_PROP_FPS=5))
    feed = reader.frames(0, latest=False, reconnect=0)
    assert (feed.live, feed.rate) == (True, Fraction(30))
    assert next(feed).image.tolist() == [[[3, 2, 1]]]
    assert [frame.number for frame in feed] == [1, 2]
    assert "camera 0: gives no more images" in caplog.text
    with pytest.raises(DataError, match="camera 7: there is none, or it is in use"):
        reader.frames(7)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_written_video_has_the_rate_and_the_images(
    codec: str, suffix: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darknet_py.video.writer._CODECS", ("none", codec))
    path = tiny_videos.write(tmp_path / f"x{suffix}", 12, Fraction(30000, 1001), width=97, height=63)
    with reader.frames(path) as feed:
        assert float(feed.rate) == pytest.approx(30000 / 1001, rel=1e-3)
        found = list(feed)
    assert [tiny_videos.place(frame.image) for frame in found] == pytest.approx(range(12), abs=0.3)
    assert found[0].image.shape == (64, 98, 3)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_video_is_whole_or_absent(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.mp4"

    def stopped() -> None:
        with VideoWriter(path, tiny_videos.RATE) as file:
            file.add(tiny_videos.image(0), 0.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    with VideoWriter(path, tiny_videos.RATE):
        pass  # no frame
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match=r"x\.webp: expected a video's name that ends in \.avi, \.m4v"):
        VideoWriter(tmp_path / "x.webp", tiny_videos.RATE)
    with (
        pytest.raises(DataError, match="No such file"),
        VideoWriter(tmp_path / "none" / "x.mp4", tiny_videos.RATE) as file,
    ):
        file.add(tiny_videos.image(0), 0.0)
