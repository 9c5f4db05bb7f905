"""A server process: what is no HTTP, slow and too many clients, and the end by a signal."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from darknet_py.errors import DataError
from tests.helpers.served_digits import png

pytest.importorskip("starlette", reason="serving needs Starlette: pip install 'darknet-torch[serve]'")
pytest.importorskip("uvicorn", reason="serving needs uvicorn: pip install 'darknet-torch[serve]'")
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that a process handles")

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLOW = """
import sys, time, darknet_py as dk
from darknet_py.serving import Limits, create_app
from darknet_py.serving.server import serve
net = dk.load(sys.argv[1], sys.argv[2])
calls = []
def slow(x):
    calls.append(1)
    if len(calls) > 1:  # the first image is computed at the start
        print("computing", flush=True)
        time.sleep(1.5)
    return net.predict(x)
limits = Limits(body_timeout=0.7, max_connections=6)
app = create_app(dk.Detector(net, engine=slow), limits=limits, allowed_hosts=["localhost"])
serve(app, "127.0.0.1", 0, on_start=lambda url: print(url, file=sys.stderr, flush=True))
"""


class Server:
    """A running process with its port."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr
        self.process = process
        self.line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.line)
        assert found, self.line + process.stderr.read()
        self.port = int(found[1])

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, json.loads(content)

    def raw(self, *parts: bytes, pause: float = 0.0) -> bytes:
        """Send bytes, and read until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            answer = b""
            while part := connection.recv(65536):
                answer += part
            return answer

    def end(self, number: signal.Signals) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


@contextmanager
def running(*arguments: str) -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield Server(process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("-c", SLOW, "cfgs/digits.cfg", "cfgs/digits.weights") as server:
        yield server


def sentence(answer: bytes, status: int) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer
    return str(json.loads(body)["error"])


POST = b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        [b"hello\r\n\r\n"],
        [b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000],
        [b"GET /" + b"a" * 200_000],
        [POST + b"Content-Length: -1\r\n\r\n"],
        [POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"],
        [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n"],  # TLS
    ],
)
def test_what_is_no_http_gets_a_sentence(server: Server, parts: list[bytes]) -> None:
    message = sentence(server.raw(*parts), 400)
    assert message == "expected a request of HTTP/1.1, found something else or a header of more than 16,384 bytes"
    assert server.request("GET", "/healthz") == (200, {"status": "ready"})


def test_a_slow_body_is_408(server: Server) -> None:
    answer = server.raw(POST + b"Content-Length: 10\r\nConnection: close\r\n\r\n", b"a", pause=0.1)
    assert sentence(answer, 408) == "expected the whole body within 0.7 s, found 1 bytes"


def test_a_connection_without_a_header_is_closed(server: Server) -> None:
    started = time.monotonic()
    assert server.raw(b"POST /v1/detect HT") == b""
    assert 0.5 < time.monotonic() - started < 20


def test_a_client_that_closes_in_its_body_harms_nobody(server: Server) -> None:
    for content in (b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(POST + content)
    assert server.request("GET", "/healthz") == (200, {"status": "ready"})


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(server: Server) -> None:
    answer = server.raw(POST + b"Content-Length: 99999999999\r\nConnection: close\r\n\r\n")
    assert sentence(answer, 413) == "expected a body of at most 16,777,216 bytes, found more"


def test_another_host_is_refused(server: Server) -> None:
    answer = server.raw(b"GET /healthz HTTP/1.1\r\nHost: attacker.example\r\nConnection: close\r\n\r\n")
    assert sentence(answer, 400).startswith("Host: expected localhost")


def test_connections_are_limited(server: Server) -> None:
    opened = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(6)]
    time.sleep(0.1)
    assert sentence(server.raw(), 503) == "there are 6 connections, which is the limit"
    for connection in opened:
        connection.close()
    time.sleep(0.2)
    assert server.request("GET", "/healthz") == (200, {"status": "ready"})


@posix
def test_a_signal_drains_the_server() -> None:
    with (
        running("-c", SLOW, "cfgs/digits.cfg", "cfgs/digits.weights") as server,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        accepted = [pool.submit(server.request, "POST", "/v1/detect", png(index)) for index in range(3)]
        assert server.process.stdout
        assert server.process.stdout.readline() == "computing\n"
        time.sleep(0.2)  # for the others to be accepted
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert server.request("POST", "/v1/detect", png()) == (503, {"error": "the server is shutting down"})
        assert server.request("GET", "/healthz") == (503, {"status": "draining"})
        for future in accepted:
            status, content = future.result(30)
            assert status == 200
            assert content["boxes"]
        _, errors = server.process.communicate(timeout=30)
        assert (server.process.returncode, errors) == (0, "")


@posix
@pytest.mark.slow
def test_a_body_that_never_ends_is_refused_when_the_server_ends() -> None:
    with (
        running("-m", "darknet_py", "serve", "digits", "--port", "0", "--body-timeout", "60") as server,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        answer = pool.submit(server.raw, POST + b"Content-Length: 10\r\n\r\n", b"a")
        time.sleep(0.3)
        status, errors = server.end(signal.SIGTERM)
        assert (status, "Traceback" in errors) == (0, False), errors
        assert sentence(answer.result(30), 503) == "the server is shutting down"


def test_the_command_serves_and_ends() -> None:
    with running("-m", "darknet_py", "serve", "digits", "--port", "0") as server:
        assert server.line.startswith("serving at http://127.0.0.1:")
        status, content = server.request("POST", "/v1/detect", png())
        assert (status, len(content["boxes"]) > 1) == (200, True)
        status, content = server.request("GET", "/v1/model")
        assert content["cfg"] == "digits.cfg"
        assert content["limits"]["max_pixels"] == 2**25
        if sys.platform != "win32":
            assert server.end(signal.SIGINT) == (0, "")


def test_an_address_that_cannot_be_bound_is_refused() -> None:
    from darknet_py.serving.server import _bind

    with _bind("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        with pytest.raises(DataError, match=f"^127.0.0.1:{port}: Address already in use$"):
            _bind("127.0.0.1", port)
    with pytest.raises(DataError, match=r"port: expected 0\.\.65535, got 65536"):
        _bind("127.0.0.1", 65536)
    with pytest.raises(DataError, match=r"^no\.such\.host\.invalid:1: "):
        _bind("no.such.host.invalid", 1)
