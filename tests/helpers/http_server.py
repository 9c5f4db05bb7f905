"""A local HTTP server that can interrupt responses, ignore ranges and return errors."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """A request of a client."""

    path: str
    range: str | None


@dataclass
class _File:
    content: bytes
    cuts: list[int]
    ranges: bool
    length: bool
    etag: str
    then: tuple[bytes, str] | None


@dataclass
class Site:
    """A server: its files, and the requests so far."""

    root: str
    requests: list[Request] = field(default_factory=list)
    files: dict[str, _File] = field(default_factory=dict)

    def address(self, name: str) -> str:
        """Return the URL of a file, which need not exist."""
        return f"{self.root}/{name}"

    def serve(
        self,
        name: str,
        content: bytes,
        *,
        cuts: list[int] | None = None,
        ranges: bool = True,
        length: bool = True,
        etag: str = "",
        then: tuple[bytes, str] | None = None,
    ) -> str:
        """Serve a file and return its URL.

        The first responses are cut to the numbers of bytes in ``cuts``. ``length``: whether Content-Length is sent.
        ``then``: content and ETag after the first response.
        """
        self.files[f"/{name}"] = _File(content, list(cuts or ()), ranges, length, etag, then)
        return self.address(name)


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """Run a server on a free port of this machine until the context ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests.append(Request(self.path, self.headers["Range"]))
            file = served.files.get(self.path)
            if file is None:
                self.send_error(404)
                return
            is_same = self.headers["If-Range"] in (None, file.etag)
            start, partial = 0, bool(self.headers["Range"]) and file.ranges and is_same
            if partial:
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            body = file.content[start:]
            if partial:
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(file.content) - 1}/{len(file.content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            if file.length:
                self.send_header("Content-Length", str(len(body)))
            if file.etag:
                self.send_header("ETag", file.etag)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body[: file.cuts.pop(0)] if file.cuts else body)
            if file.then:
                file.content, file.etag = file.then

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing to stderr, which is tested."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield served
        server.shutdown()
        thread.join()
