"""Streams from a network: files and endless ones over http, rtsp, and connections that break off."""

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
from darknet_py.video import reader
from tests.helpers import http_server, tiny_videos

av = pytest.importorskip("av", reason="streams are read with PyAV: pip install 'darknet-torch[video]'")


def test_a_file_over_http_goes_on_where_it_broke_off(tmp_path: pathlib.Path, site: http_server.Site) -> None:
    content = tiny_videos.write(tmp_path / "clip.mp4").read_bytes()
    address = site.serve("clip.mp4", content, cuts=[len(content) // 2])
    with reader.frames(address) as feed:
        assert not feed.live
        assert [frame.number for frame in feed] == list(range(20))
    assert len(site.requests) > 1


@contextlib.contextmanager
def live(*parts: bytes | None) -> Iterator[str]:
    """Serve a stream without a length: each connection gets the next part, None is an error of the server."""
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
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/live"
        server.shutdown()


def test_a_live_stream_comes_back_and_counts_on(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    stream = tiny_videos.transport(tmp_path / "live.ts", 20)
    found: list[reader.Frame] = []
    with live(stream, None, stream) as address:
        feed = reader.frames(address, latest=False, reconnect=2, backoff=0.05)
        assert feed.live
        with pytest.raises(DataError, match="given up after 2 attempts"):
            found.extend(feed)
    assert "attempt 2 of 2 in 0.1 s" in caplog.text
    assert len(found) > 30
    assert [frame.number for frame in found] == list(range(len(found)))
    times = [frame.timestamp for frame in found]
    assert times == sorted(times)
    assert tiny_videos.place(found[-1].image) == pytest.approx(19, abs=0.5)


def test_without_reconnecting_a_stream_just_ends(tmp_path: pathlib.Path) -> None:
    with live(tiny_videos.transport(tmp_path / "live.ts", 20)) as address:
        assert len(list(reader.frames(address, latest=False, reconnect=0))) > 15


def test_closing_ends_the_wait_for_a_connection(tmp_path: pathlib.Path) -> None:
    with live(tiny_videos.transport(tmp_path / "live.ts", 5)) as address:
        feed = reader.frames(address, backoff=60)
        next(feed)
        started = time.monotonic()
        feed.close()
        assert time.monotonic() - started < 10
        assert tiny_videos.no_thread_is_left()


class Camera(socketserver.StreamRequestHandler):
    """A camera that speaks as little RTSP as can be: a transport stream in RTP over the same connection."""

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


def test_a_camera_over_rtsp_comes_back(tmp_path: pathlib.Path) -> None:
    class Mine(Camera):
        stream = tiny_videos.transport(tmp_path / "live.ts", 40)
        connections: list[str] = []  # noqa: RUF012

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mine) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        feed = reader.frames(f"rtsp://127.0.0.1:{server.server_address[1]}/stream", latest=False, backoff=0.05)
        with feed:
            found = [next(feed) for _ in range(50)]
        server.shutdown()
    assert feed.live
    assert len(Mine.connections) > 1
    assert [frame.number for frame in found] == list(range(50))
    assert max(tiny_videos.place(frame.image) for frame in found) > 30
