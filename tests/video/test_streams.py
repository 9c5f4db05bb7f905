"""Network streams: files and live streams over HTTP and RTSP, with connections that drop."""

from __future__ import annotations

import contextlib
import http.server
import pathlib
import socketserver
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from darknet_py.errors import DataError
from darknet_py.video.frame_queue import ReconnectPolicy
from darknet_py.video.reader import Frame, open_video
from tests.helpers import http_server, tiny_videos

av = pytest.importorskip("av", reason="streams are read with PyAV: pip install 'darknet-torch[video]'")


def test_a_file_over_http_is_resumed_after_a_lost_connection(tmp_path: pathlib.Path, site: http_server.Site) -> None:
    content = tiny_videos.write_video(tmp_path / "clip.mp4").read_bytes()
    address = site.serve("clip.mp4", content, cuts=[len(content) // 2])
    with open_video(address) as video:
        assert not video.live
        assert [frame.number for frame in video] == list(range(20))
    assert len(site.requests) > 1


@contextlib.contextmanager
def live(*parts: bytes | None) -> Iterator[str]:
    """Serve a stream without a length: each connection gets the next part; None is a server error (503)."""
    waiting = list(parts)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            part = waiting.pop(0) if waiting else None
            if part is None:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(part)

        def log_message(self, format: str, *args: object) -> None:
            """Do not log."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/live"
        server.shutdown()


def test_a_live_stream_is_reconnected_and_keeps_counting_frames(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    stream = tiny_videos.transport_stream(tmp_path / "live.ts", 20)
    frames: list[Frame] = []
    with live(stream, None, stream) as address:
        video = open_video(address, latest=False, reconnect=2, backoff=0.05)
        assert video.live
        with pytest.raises(DataError, match="given up after 2 attempts"):
            frames.extend(video)
    assert "attempt 2 of 2 in 0.1 s" in caplog.text
    assert len(frames) > 30
    assert [frame.number for frame in frames] == list(range(len(frames)))
    times = [frame.timestamp for frame in frames]
    assert times == sorted(times)
    assert tiny_videos.frame_number(frames[-1].image) == pytest.approx(19, abs=0.5)


def test_without_reconnect_the_end_of_the_stream_ends_the_video(tmp_path: pathlib.Path) -> None:
    with live(tiny_videos.transport_stream(tmp_path / "live.ts", 20)) as address:
        assert len(list(open_video(address, latest=False, reconnect=0))) > 15


def test_the_delay_between_reconnections_doubles_up_to_30_seconds() -> None:
    policy = ReconnectPolicy(attempts=8, backoff=0.5)
    assert [policy.delay(attempt) for attempt in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_close_interrupts_the_wait_before_a_reconnection(tmp_path: pathlib.Path) -> None:
    with live(tiny_videos.transport_stream(tmp_path / "live.ts", 5)) as address:
        video = open_video(address, backoff=60)
        next(video)
        started = time.monotonic()
        video.close()
        assert time.monotonic() - started < 10
        assert tiny_videos.reader_threads_have_ended()


class RtspCamera(socketserver.StreamRequestHandler):
    """A minimal RTSP server: a transport stream in RTP packets, interleaved on the same connection."""

    stream: bytes
    connections: list[str]

    def handle(self) -> None:
        while line := self.rfile.readline().decode():
            method, rest = line.split(" ", 1)
            headers: dict[str, str] = {}
            while (text := self.rfile.readline().decode().strip()) != "":
                key, _, value = text.partition(":")
                headers[key.lower()] = value.strip()
            body = b""
            extra = f"Session: 1\r\nTransport: {headers.get('transport', '')}\r\n"
            if method == "DESCRIBE":
                body = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"
                extra = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            self.wfile.write(f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n{extra}\r\n".encode() + body)
            if method == "PLAY":
                self.connections.append(rest)
                return self._play()

    def _play(self) -> None:
        for number, start in enumerate(range(0, len(self.stream), 7 * 188)):
            packet = struct.pack(">BBHII", 0x80, 33, number, number * 3600, 1) + self.stream[start : start + 7 * 188]
            self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)


def test_an_rtsp_camera_is_reconnected(tmp_path: pathlib.Path) -> None:
    class ServedCamera(RtspCamera):
        stream = tiny_videos.transport_stream(tmp_path / "live.ts", 40)
        connections: list[str] = []  # noqa: RUF012

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), ServedCamera) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        video = open_video(f"rtsp://127.0.0.1:{server.server_address[1]}/stream", latest=False, backoff=0.05)
        with video:
            frames = [next(video) for _ in range(50)]
        server.shutdown()
    assert video.live
    assert len(ServedCamera.connections) > 1
    assert [frame.number for frame in frames] == list(range(50))
    assert max(tiny_videos.frame_number(frame.image) for frame in frames) > 30
