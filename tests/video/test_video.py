"""Reading videos and cameras, and writing videos."""

from __future__ import annotations

import pathlib
import sys
import types
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from darknet_py.errors import DataError
from darknet_py.video.capture import is_video
from darknet_py.video.reader import open_video
from darknet_py.video.writer import VideoWriter
from tests.helpers import tiny_videos

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'darknet-torch[video]'")


@pytest.fixture
def clip(tmp_path: pathlib.Path) -> pathlib.Path:
    return tiny_videos.write_video(tmp_path / "clip.mp4")


@pytest.mark.parametrize("name", ["0", "12", "/dev/video0", "a.mp4", "b/*.MKV", "rtsp://h/x", "http://h/v", "x.webm"])
def test_cameras_urls_and_video_suffixes_are_videos(name: str) -> None:
    assert is_video(name)


@pytest.mark.parametrize("name", ["a.jpg", "a.gif", "photos/", "*.png", "list.txt", "mp4", "sample:bus", "0.jpg"])
def test_images_folders_and_lists_are_not_videos(name: str) -> None:
    assert not is_video(name)


def test_an_existing_file_named_0_is_not_a_camera(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("0").touch()
    assert not is_video("0")


def test_all_frames_of_a_file_are_read_with_their_timestamps(clip: pathlib.Path) -> None:
    with open_video(clip) as video:
        assert (video.live, video.fps, video.frame_count) == (False, tiny_videos.FPS, 20)
        frames = list(video)
    assert [frame.number for frame in frames] == list(range(20))
    assert [frame.timestamp for frame in frames] == pytest.approx([number / 25 for number in range(20)], abs=1e-5)
    assert [tiny_videos.frame_number(frame.image) for frame in frames] == pytest.approx(range(20), abs=0.3)
    assert frames[0].image.shape == (64, 96, 3)
    assert frames[0].image.dtype == np.uint8
    assert tiny_videos.reader_threads_have_ended()


def test_the_queue_is_bounded_and_a_slow_consumer_gets_every_frame(clip: pathlib.Path) -> None:
    video = open_video(clip, depth=2)
    video._thread.join(timeout=0.5)
    assert video._thread.is_alive()
    assert len(video._queue._frames) == 2
    assert [number for number, _, _ in video] == list(range(20))


def test_latest_drops_all_but_the_newest_frame(clip: pathlib.Path) -> None:
    video = open_video(clip, latest=True)
    video._thread.join()  # the whole clip has been read
    number, timestamp, image = next(video)
    assert number == 19
    assert timestamp == pytest.approx(19 / 25, abs=1e-5)
    assert tiny_videos.frame_number(image) == pytest.approx(19, abs=0.3)
    assert list(video) == []


def test_stride_skips_frames(clip: pathlib.Path) -> None:
    assert [frame.number for frame in open_video(clip, stride=7)] == [0, 7, 14]


def test_a_closed_or_garbage_collected_reader_ends_its_thread(clip: pathlib.Path) -> None:
    with open_video(clip) as video:
        next(video)
    assert list(video) == []
    for _ in open_video(clip):
        break
    assert tiny_videos.reader_threads_have_ended()


def test_the_display_matrix_rotates_the_frames(clip: pathlib.Path) -> None:
    content = bytearray(clip.read_bytes())
    at = content.index(b"tkhd") + 44  # the track's matrix: a quarter turn clockwise, as phones write it
    one = 0x10000
    matrix = (0, one, 0, -one & 0xFFFFFFFF, 0, 0, 0, 0, 0x40000000)
    content[at : at + 36] = b"".join(value.to_bytes(4, "big") for value in matrix)
    clip.write_bytes(content)
    image = next(open_video(clip)).image
    assert image.shape == (96, 64, 3)
    assert np.abs(image.astype(int) - np.rot90(tiny_videos.render_frame(0), -1)).mean() < 6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.mp4", "none.mp4: No such file or directory"),
        ("text.mp4", "text.mp4: not a video in a format that FFmpeg reads, or a broken one"),
        ("http://127.0.0.1:9/x", "http://127.0.0.1:9/x: Connection refused"),
    ],
)
def test_a_source_that_cannot_be_opened_is_refused(
    name: str, message: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("text.mp4").write_text("no video " * 999)
    with pytest.raises(DataError, match=f"^{message}$"):
        open_video(name)


@pytest.mark.parametrize(("package", "name"), [("av", "a.mp4"), ("cv2", "0")])
def test_the_error_names_the_missing_package(package: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=r"needs (PyAV|OpenCV): pip install 'darknet-torch\[video\]'"):
        open_video(name)


@pytest.mark.parametrize("options", [{"stride": 0}, {"depth": 0}, {"reconnect": -1}])
def test_out_of_range_arguments_are_refused(options: dict[str, Any], clip: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"expected . or more, got"):
        open_video(clip, **options)


def test_a_camera_is_read_with_opencv(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
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
    video = open_video(0, latest=False, reconnect=0)
    assert (video.live, video.fps) == (True, Fraction(30))
    assert next(video).image.tolist() == [[[3, 2, 1]]]
    assert [frame.number for frame in video] == [1, 2]
    assert "camera 0: stopped sending frames" in caplog.text
    with pytest.raises(DataError, match="camera 7: not found, or in use by another program"):
        open_video(7)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_written_video_keeps_frame_rate_and_images(
    codec: str, suffix: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darknet_py.video.writer._CODECS", ("none", codec))
    path = tiny_videos.write_video(tmp_path / f"x{suffix}", 12, Fraction(30000, 1001), width=97, height=63)
    with open_video(path) as video:
        assert float(video.fps) == pytest.approx(30000 / 1001, rel=1e-3)
        frames = list(video)
    assert [tiny_videos.frame_number(frame.image) for frame in frames] == pytest.approx(range(12), abs=0.3)
    assert frames[0].image.shape == (64, 98, 3)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failed_or_empty_run_leaves_no_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.mp4"

    def stopped() -> None:
        with VideoWriter(path, tiny_videos.FPS) as file:
            file.write(tiny_videos.render_frame(0), 0.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    with VideoWriter(path, tiny_videos.FPS):
        pass  # no frame
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match=r"x\.webp: expected a file name that ends in \.avi, \.m4v"):
        VideoWriter(tmp_path / "x.webp", tiny_videos.FPS)
    with (
        pytest.raises(DataError, match="No such file"),
        VideoWriter(tmp_path / "none" / "x.mp4", tiny_videos.FPS) as file,
    ):
        file.write(tiny_videos.render_frame(0), 0.0)


def test_frames_of_more_pixels_than_the_limit_are_refused(tmp_path: pathlib.Path) -> None:
    path = tiny_videos.write_video(tmp_path / "a.mp4", 3)
    with pytest.raises(DataError, match=r"a\.mp4: 96x64 are 6,144 pixels, more than the limit of 6,143"):
        open_video(path, max_pixels=6143)
    with open_video(path, max_pixels=6144) as video:
        assert len(list(video)) == 3


def test_frames_that_become_larger_than_the_limit_are_not_decoded(tmp_path: pathlib.Path) -> None:
    small, large = (tiny_videos.transport_stream(tmp_path / "part.ts", 5, width) for width in (96, 960))
    (tmp_path / "a.ts").write_bytes(small + large)
    with open_video(tmp_path / "a.ts") as video:
        assert {frame.image.shape for frame in video} == {(64, 96, 3), (64, 960, 3)}
    with (
        open_video(tmp_path / "a.ts", max_pixels=20000) as video,
        pytest.raises(DataError, match=r"a\.ts: a frame has more pixels than the limit of 20,000 "),
    ):
        list(video)


def test_an_unknown_codec_is_an_error(tmp_path: pathlib.Path) -> None:
    path = tiny_videos.write_video(tmp_path / "a.mp4", 3)
    content = bytearray(path.read_bytes())
    start = content.index(b"stsd") + 16  # after the version, the number of entries and the size of the first
    content[start : start + 4] = b"zzzz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.mp4: expected a video that FFmpeg decodes, found an unknown codec"):
        open_video(path)
