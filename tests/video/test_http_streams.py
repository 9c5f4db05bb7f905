"""Darknet's ``-json_port``, ``-mjpeg_port``, ``-http_post_host``: what clients get, as C's http_stream.cpp sends it."""

from __future__ import annotations

import email
import http.server
import io
import json
import pathlib
import re
import socket
import sys
import threading
import time
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darknet_py import cli
from darknet_py.errors import DataError
from darknet_py.results.results import Results
from darknet_py.video.http_streams import JSONStreamServer, MJPEGServer, objects_message, post_objects
from tests.commands.test_cli import model
from tests.commands.test_detector_demo import RepeatingCamera, line
from tests.helpers import paths, tiny_videos

__all__ = ["model"]  # a fixture

GOLDEN = paths.ROOT / "tests" / "golden" / "demo"  # what C's detector demo sent


def connect(port: int, request: bytes = b"GET / HTTP/1.1\r\n\r\n") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.sendall(request)
    time.sleep(0.05)  # for the server's queue of connections
    return client


def read_all(client: socket.socket) -> tuple[bytes, bytes]:
    """The header and the body, to the end of the connection."""
    with client:
        content = b""
        while part := client.recv(65536):
            content += part
    head, _, body = content.partition(b"\r\n\r\n")
    return head, body


def test_json_is_one_array_from_the_first_frame_that_a_client_sees_byte_for_byte_as_cs() -> None:
    sent = (GOLDEN / "json_port.http").read_bytes()
    frames = json.loads(sent.partition(b"\r\n\r\n")[2])
    with JSONStreamServer(0) as server:
        server.send({"frame_id": 1, "objects": []})
        first = connect(server.port)
        for frame in frames[:2]:
            server.send(frame)
        second = connect(server.port, b"")  # one that requests nothing
        for frame in frames[2:]:
            server.send(frame)
    head, body = read_all(first)
    assert head + b"\r\n\r\n" + body == sent
    assert json.loads(read_all(second)[1]) == frames[2:]


def test_names_are_escaped() -> None:
    element = {"frame_id": 1, "filename": "\udcff.png", "objects": []}
    with JSONStreamServer(0) as server:
        client = connect(server.port)
        server.send(element)
        server.send({"frame_id": 2, "filename": 'a"\u5b57.png', "objects": []})
    assert json.loads(read_all(client)[1]) == [element, {"frame_id": 2, "filename": 'a"\u5b57.png', "objects": []}]


def test_mjpeg_has_a_part_for_each_frame() -> None:
    image = tiny_videos.render_frame(3)
    with MJPEGServer(0) as server:
        server.send(image)
        client = connect(server.port)
        server.send(image)
        server.send(Image.fromarray(image))
    head, body = read_all(client)
    golden, _, part = (GOLDEN / "mjpeg_port.http").read_bytes().partition(b"\r\n\r\n")
    assert head == golden
    pattern = re.sub(rb"\d+", rb"(\\d+)", part)
    for _ in range(2):
        start = re.match(pattern, body)
        assert start
        end = start.end() + int(start[1])
        jpeg, body = body[start.end() : end], body[end:]
        shown = np.asarray(Image.open(io.BytesIO(jpeg))).astype(int)
        assert np.abs(shown - image).max() < 60
    assert body == b""


def test_a_client_that_reads_nothing_or_is_gone_is_disconnected() -> None:
    with JSONStreamServer(0) as server:
        stuck, gone, alive = (connect(server.port) for _ in range(3))
        server.send({"frame_id": 1, "objects": []})
        gone.close()
        started = time.monotonic()
        large = {"frame_id": 2, "filename": "a" * 20_000_000, "objects": []}  # more than the buffers of a connection
        reader = threading.Thread(target=lambda: alive.recv(30_000_000, socket.MSG_WAITALL))
        reader.start()
        server.send(large)
        assert 0.3 < time.monotonic() - started < 20
        assert len(server._clients) <= 1
        stuck.close()
        alive.close()
        reader.join(30)


def test_a_port_that_is_taken_is_refused() -> None:
    with JSONStreamServer(0) as server, pytest.raises(DataError, match=f"^port {server.port}: Address already in use$"):
        MJPEGServer(server.port)
    with pytest.raises(DataError, match=r"^port: expected 0\.\.65535, got 70000$"):
        MJPEGServer(70000)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted."""

    posts: list[tuple[str, dict[str, str], str]] = []  # noqa: RUF012 (one for the tests of this file)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.posts.append((self.path, dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[int]:
    Receiver.posts.clear()
    with http.server.HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_objects_are_posted_with_the_first_class_of_each_box(receiver: int) -> None:
    result = Results(
        torch.full((3, 4), 0.5),
        torch.tensor([0.9, 0.8, 0.7]),
        torch.tensor([2, 1, 0]),
        torch.tensor([0, 0, 1]),
        shape=(10, 10),
        names=["cat", "dog", "cow"],
    )
    message = objects_message(result, "clip.mp4")
    # The first box has the classes cow and dog: Darknet names that of the lower number.
    assert re.fullmatch(
        r"dog, id: 1\ncat, id: 0\n\ntime:\n\w+day \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\nvideosource:\nclip\.mp4", message
    )
    assert objects_message(result[:0], "clip.mp4") == ""
    for host in (f"127.0.0.1:{receiver}/a/b", f"http://127.0.0.1:{receiver}"):
        post_objects(host, message)
    assert [(path, body) for path, _, body in Receiver.posts] == [("/a/b", message), ("/", message)]
    golden = email.message_from_bytes((GOLDEN / "post.http").read_bytes().partition(b"\r\n")[2])
    own = {"Host", "Content-Length", "User-Agent"}
    for _, headers, _ in Receiver.posts:
        assert headers.keys() == set(golden.keys())
        assert {key: value for key, value in headers.items() if key not in own} == {
            key: value for key, value in golden.items() if key not in own
        }


def test_the_posted_text_is_that_of_c() -> None:
    body = (GOLDEN / "post.http").read_text(encoding="utf-8").partition("\n\n")[2]
    frame = json.loads((GOLDEN / "json_port.http").read_bytes().partition(b"\r\n\r\n")[2])[1]
    message = objects_message(results_of(frame), "clip.avi")
    when = r"\w+day \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.sub(when, "", message) == re.sub(when, "", body)


def results_of(frame: dict[str, Any]) -> Results:
    """The results of C's JSON of a frame of 384 x 288 pixels; rows with the same coordinates are one box."""
    objects = frame["objects"]
    boxes = [tuple(item["relative_coordinates"].values()) for item in objects]
    return Results(
        torch.tensor(boxes),
        torch.tensor([item["confidence"] for item in objects]),
        torch.tensor([item["class_id"] for item in objects]),
        torch.tensor([list(dict.fromkeys(boxes)).index(box) for box in boxes]),
        shape=(288, 384),
        names={item["class_id"]: item["name"] for item in objects},
    )


def test_the_lines_of_a_frame_are_those_of_c() -> None:
    """The order of the boxes is not compared: C's is that of its last sort."""
    out = (GOLDEN / "ext_output.out").read_text(encoding="utf-8").split("Objects:\n\n")[1:]
    frames = json.loads((GOLDEN / "ext_output.json").read_text(encoding="utf-8"))
    assert len(out) == len(frames) > 5
    for text, frame in list(zip(out, frames, strict=True))[1:]:  # C draws and prints nothing of the first
        lines = text.partition("\nFPS:")[0].splitlines()
        assert sorted(results_of(frame).to_demo_text(coordinates=True).splitlines()) == sorted(lines)
    assert any(", " in text for text in out)  # a box of two classes


@pytest.mark.parametrize("host", ["127.0.0.1:1/x", "no host/x", "127.0.0.1:x"])
def test_a_host_that_cannot_be_reached_is_named(host: str) -> None:
    with pytest.raises(DataError, match=f"^{host}: "):
        post_objects(host, "text")


def test_a_host_with_encryption_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"^https://host/x: expected HOST\[:PORT\]/PATH without encryption, found https"
    ):
        post_objects("https://host/x", "text")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_detector_demo_serves_what_it_detects(
    model: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], receiver: int
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", types.SimpleNamespace(VideoCapture=RepeatingCamera, CAP_PROP_FPS=5))
    ports = free_port(), free_port()
    streams: dict[int, bytes] = {}

    def listen(port: int) -> None:
        for _ in range(600):
            try:
                client = connect(port)
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                streams[port] = read_all(client)[1]
                return

    threads = [threading.Thread(target=listen, args=(port,)) for port in ports]
    for thread in threads:
        thread.start()
    options = ["-json_port", str(ports[0]), "-mjpeg_port", str(ports[1]), "-http_post_host", f"127.0.0.1:{receiver}/x"]
    assert cli.main(line(model, "-c", "3", "-time_limit_sec", "2", *options)) == 0
    for thread in threads:
        thread.join(30)
    frames = json.loads(streams[ports[0]])
    first = frames[0]["frame_id"]
    assert [frame["frame_id"] for frame in frames] == list(range(first, first + len(frames)))
    assert frames[0]["objects"][0]["name"] == "dog"
    assert streams[ports[1]].startswith(b"--mjpegstream\r\nContent-Type: image/jpeg\r\n")
    assert len(Receiver.posts) == 1  # the first frame with objects, as there is a limit of time
    assert Receiver.posts[0][2].startswith("dog, id: 1\n\ntime:\n")
    assert Receiver.posts[0][2].endswith("videosource:\n3")
    output = capsys.readouterr()
    assert "Objects:\n\n JSON-stream sent. \ndog: 98% \n\nFPS:" in output.out
    assert " MJPEG-stream sent. \n" in output.out
    assert f"-json_port: whoever reaches port {ports[0]} of this machine gets the stream" in output.err


def test_an_unreachable_host_is_noted_once(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av", reason="videos are read with PyAV: pip install 'darknet-torch[video]'")
    tiny_videos.write_video(pathlib.Path("clip.mp4"), 3)
    assert cli.main(line(model, "clip.mp4", "-http_post_host", "127.0.0.1:1/x")) == 0
    assert capsys.readouterr().err.count("note: -http_post_host: 127.0.0.1:1/x: ") == 1
