"""A small web server on this machine that breaks off, ignores ranges and says no, as the ones outside do."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    path: str
    range: str | None


@dataclass
class _File:
    content: bytes
    cuts: list[int]
    ranges: bool


@dataclass
class Site:
    """The files that are served, and the requests so far."""

    root: str
    requests: list[Request] = field(default_factory=list)
    files: dict[str, _File] = field(default_factory=dict)

    def address(self, name: str) -> str:
        """Return the address of a file, served or not."""
        return f"{self.root}/{name}"

    def serve(self, name: str, content: bytes, *, cuts: list[int] | None = None, ranges: bool = True) -> str:
        """Serve ``content``; the first answers end after as many bytes as ``cuts`` says. Return the address."""
        self.files[f"/{name}"] = _File(content, list(cuts or ()), ranges)
        return self.address(name)


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """Serve on a free port of this machine until the context ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests.append(Request(self.path, self.headers["Range"]))
            file = served.files.get(self.path)
            if file is None:
                self.send_error(404)
                return
            start, partial = 0, bool(self.headers["Range"]) and file.ranges
            if partial:
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            body = file.content[start:]
            if partial:
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(file.content) - 1}/{len(file.content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: file.cuts.pop(0)] if file.cuts else body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: stderr belongs to what is tested."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield served
        server.shutdown()
        thread.join()
