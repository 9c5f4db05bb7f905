"""The video of a server: who listens gets the newest frames with their boxes, as MJPEG and as events."""

from __future__ import annotations

import asyncio
import http.client
import io
import itertools
import json
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darknet_py.errors import DataError
from darknet_py.results.results import Results
from darknet_py.serving.batcher import QueueFullError
from darknet_py.serving.video_feed import DetectedFrame, VideoFeed
from darknet_py.video.reader import Frame, open_video
from darknet_py.video.writer import VideoWriter
from tests.helpers import served_digits
from tests.serving.test_server import running

SECONDS = 30


class FakeVideo:
    """A video of grey frames; live ones come as fast as they are taken."""

    name = "fake"
    fps = Fraction(20)

    def __init__(self, count: int, *, live: bool = True, step: float = 0.0) -> None:
        self.live, self._count, self._step = live, count, step
        self.closed = False

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self._count):
            if self.closed:
                return
            yield Frame(number, number * self._step, np.full((4, 6, 3), 99, np.uint8))

    def __enter__(self) -> FakeVideo:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True


def detect(frame: Frame) -> Results:
    box = torch.tensor([[0.5, 0.5, 0.5, 0.5]])
    return Results(box, torch.tensor([0.9]), torch.tensor([frame.number % 3]), shape=(4, 6))


def feed(*videos: FakeVideo, function: Any = detect, places: int = 4) -> VideoFeed:
    remaining = list(videos)
    return VideoFeed(lambda: remaining.pop(0), function, places)  # type: ignore[arg-type,return-value]


async def listen(feed: VideoFeed, count: int, *, with_image: bool = False) -> list[DetectedFrame]:
    frames = []
    async for frame in feed.listen(with_image=with_image):
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


def number(frame: DetectedFrame) -> int:
    return int(json.loads(frame.event)["index"])


def test_every_listener_gets_frames_with_boxes() -> None:
    async def run() -> list[list[DetectedFrame]]:
        return list(await asyncio.gather(listen(one, 3), listen(one, 3, with_image=True)))

    one = feed(FakeVideo(10**9))
    for frames in asyncio.run(run()):
        assert [number(frame) for frame in frames] == sorted({number(frame) for frame in frames})
        event = json.loads(frames[1].event)
        assert event["boxes"][0]["box"] == {"x1": 1.5, "y1": 1.0, "x2": 4.5, "y2": 3.0}
        assert (event["width"], event["height"]) == (6, 4)
        assert Image.open(io.BytesIO(frames[0].jpeg)).size == (6, 4)
    one.close()


def test_a_slow_listener_misses_frames() -> None:
    async def run() -> list[int]:
        numbers = []
        async for frame in one.listen(with_image=False):
            numbers.append(number(frame))
            if len(numbers) == 3:
                break
            await asyncio.sleep(0.2)
        return numbers

    def slowly(frame: Frame) -> Results:
        time.sleep(0.005)
        return detect(frame)

    one = feed(FakeVideo(10**9), function=slowly)
    numbers = asyncio.run(run())
    assert numbers[1] - numbers[0] > 3
    assert numbers[2] - numbers[1] > 3
    one.close()


def test_nothing_is_detected_while_nobody_listens() -> None:
    seen: list[int] = []

    def record(frame: Frame) -> Results:
        seen.append(frame.number)
        return detect(frame)

    threads = threading.active_count()
    one = feed(FakeVideo(10**9), function=record)
    assert threading.active_count() == threads
    asyncio.run(listen(one, 2))
    time.sleep(0.05)
    count = len(seen)
    time.sleep(0.05)
    assert len(seen) == count
    one.close()


def test_a_file_is_played_at_its_speed_and_again() -> None:
    videos = [FakeVideo(3, live=False, step=0.05) for _ in range(3)]
    one = feed(*videos)
    started = time.monotonic()
    numbers = [number(frame) for frame in asyncio.run(listen(one, 5))]
    assert numbers[0] == 0
    assert sum(later <= sooner for sooner, later in itertools.pairwise(numbers)) in (1, 2)  # and again
    assert time.monotonic() - started > 0.1
    one.close()
    assert videos[0].closed


def test_the_last_frame_of_a_file_has_its_time_too() -> None:
    one = feed(*[FakeVideo(1, live=False) for _ in range(9)])
    started = time.monotonic()
    asyncio.run(listen(one, 4))
    assert time.monotonic() - started > 3 / 20 - 0.02
    one.close()


def test_a_file_without_frames_ends_the_video(caplog: pytest.LogCaptureFixture) -> None:
    one = feed(*[FakeVideo(0, live=False) for _ in range(9)])
    assert asyncio.run(asyncio.wait_for(listen(one, 1), SECONDS)) == []
    one.close()
    assert "the video ends: fake: expected a video with frames, found none" in caplog.text


@pytest.mark.parametrize("error", [DataError("the camera is gone"), RuntimeError("the camera is gone"), None])
def test_the_end_of_a_stream_ends_it_for_all(error: Exception | None, caplog: pytest.LogCaptureFixture) -> None:
    def fail(frame: Frame) -> Results:
        if error is not None and frame.number > 1:
            raise error
        return detect(frame)

    async def run() -> int:
        return sum([1 async for _ in one.listen(with_image=False)])

    one = feed(FakeVideo(3), function=fail)
    assert asyncio.run(asyncio.wait_for(run(), SECONDS)) <= 3
    assert ("the camera is gone" if error else "fake: the stream has ended") in caplog.text
    assert asyncio.run(asyncio.wait_for(run(), SECONDS)) == 0  # and for those who come later
    one.close()


def test_a_server_that_ends_logs_no_refused_frame(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("prometheus_client", reason="pip install 'darknet-torch[serve]'")
    from darknet_py.serving.limits import Limits
    from darknet_py.serving.service import DetectionService

    service = DetectionService(served_digits.detector(), Limits())
    service.feed = feed(FakeVideo(10**9), function=service._detect_frame)
    refuse = service._batcher.drain

    def refuse_and_wait(timeout: float) -> None:
        refuse(timeout)
        time.sleep(0.1)  # for the video's next frame

    monkeypatch.setattr(service._batcher, "drain", refuse_and_wait)

    async def run() -> None:
        frames = service.feed.listen(with_image=False)  # type: ignore[union-attr]
        await anext(frames)
        await asyncio.to_thread(service.drain, 5)
        assert [frame async for frame in frames][1:] == []

    asyncio.run(asyncio.wait_for(run(), SECONDS))
    monkeypatch.undo()
    service.close()
    assert caplog.text == ""


def test_frames_are_left_out_while_the_queue_is_full_and_places_are_limited() -> None:
    def full(frame: Frame) -> Results:
        if frame.number < 5:
            raise QueueFullError("full")
        return detect(frame)

    async def run() -> None:
        frames = one.listen(with_image=False)
        assert number(await anext(frames)) >= 5
        with pytest.raises(QueueFullError, match="1 receive the video already, which is the limit"):
            one.require_place()
        await frames.aclose()  # type: ignore[attr-defined]
        one.require_place()

    one = feed(FakeVideo(10**9), function=full, places=1)
    asyncio.run(asyncio.wait_for(run(), SECONDS))
    one.close()


def test_a_server_sends_frames_and_events(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("av", reason="videos are read with PyAV: pip install 'darknet-torch[video]'")
    pytest.importorskip("uvicorn", reason="serving needs uvicorn: pip install 'darknet-torch[serve]'")
    clip = tmp_path / "clip.mp4"
    with VideoWriter(clip, Fraction(10)) as writer:
        for index in range(8):
            writer.write(np.asarray(Image.open(io.BytesIO(served_digits.png(index)))), index / 10)
    with open_video(clip) as video:
        images = [frame.image for frame in video]
    command = ("-m", "darknet_py", "serve", "digits", "--port", "0", "--source", str(clip))
    with running(*command) as server, ExitStack() as stack:
        assert server.request("GET", "/v1/model")[1]["stream"] is True
        events, stream = (http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS) for _ in range(2))
        stack.callback(events.close)
        stack.callback(stream.close)
        events.request("GET", "/v1/events")
        response = events.getresponse()
        assert response.headers["content-type"].startswith("text/event-stream")
        for _ in range(4):
            assert response.readline() == b"event: detections\n"
            name, _, content = response.readline().decode().partition(": ")
            assert (name, response.readline()) == ("data", b"\n")
            event = json.loads(content)
            expected = served_digits.detector()(images[event["index"]]).to_dict()
            assert event["boxes"] == expected["boxes"]
            assert event["timestamp"] == pytest.approx(event["index"] / 10)
        stream.request("HEAD", "/v1/events")
        assert stream.getresponse().read() == b""
        stream.request("GET", "/v1/stream.mjpg")
        frames = stream.getresponse()
        assert frames.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
        for _ in range(2):
            assert frames.readline() == b"--frame\r\n"
            assert frames.readline() == b"Content-Type: image/jpeg\r\n"
            length = int(frames.readline().decode().removeprefix("Content-Length: "))
            assert frames.readline() == b"\r\n"
            shown = np.asarray(Image.open(io.BytesIO(frames.read(length)))).astype(int)
            assert shown.shape == (96, 96, 3)
            drawn = [np.asarray(served_digits.detector()(image).plot()) for image in images]
            assert min(np.abs(shown - image).mean() for image in drawn) < 20  # but for the JPEG
            assert frames.readline() == b"\r\n"
        if sys.platform != "win32":
            server.process.send_signal(signal.SIGTERM)
            assert response.read().endswith(b"event: end\ndata: {}\n\n")
            frames.read()
            _, errors = server.process.communicate(timeout=SECONDS)
            assert (server.process.returncode, errors) == (0, "")


def test_a_server_without_a_video_says_so() -> None:
    pytest.importorskip("httpx2", reason="Starlette's test client needs httpx2")
    from starlette.testclient import TestClient

    from darknet_py.serving import create_app

    client = TestClient(create_app(served_digits.detector()))
    for path in ("/v1/events", "/v1/stream.mjpg"):
        response = client.get(path)
        assert (response.status_code, response.json()) == (
            404,
            {"error": "this server has no video: start it with --source"},
        )
    with pytest.raises(DataError, match=r"clip\.mp4: No such file"):
        create_app(served_digits.detector(), source="no/such/clip.mp4")
