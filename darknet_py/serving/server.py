"""A server process: a socket, uvicorn's HTTP/1.1, limits of connections, and signals that drain it.

h11 reads HTTP: it bounds the size of a header, and uvicorn needs no other package for it.
"""

from __future__ import annotations

import asyncio
import http
import json
import math
import os
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from ..errors import DataError
from .limits import Limits
from .service import DetectionService

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as error:
    raise ImportError("serving needs uvicorn: pip install 'darknet-torch[serve]'") from error

if TYPE_CHECKING:
    from starlette.applications import Starlette

_MAX_HEADER = 16 * 1024  # bytes of a request's line and header
_KEEP_ALIVE = 15  # seconds
_LAST_ANSWERS = 5  # seconds for answers to be sent when nothing is left to compute
_LINGER = 1.0  # seconds to read on after a refusal: closing at once would reset the connection, and lose the answer


def serve(
    app: Starlette, host: str, port: int, *, drain: float = 30.0, on_start: Callable[[str], object] = lambda url: None
) -> None:
    """Serve an application of ``create_app`` until SIGTERM or SIGINT.

    On the first signal no further image is accepted; those that were accepted are computed, or fail with status 504
    after ``drain`` seconds. The second signal ends at once.

    Args:
        app: the application.
        host: address or name to bind.
        port: port to bind; 0: a free one.
        drain: seconds that accepted images have.
        on_start: called with the URL once the port is bound.

    Raises:
        DataError: the address cannot be bound, or ``drain`` is negative.
    """
    if not drain >= 0:
        raise DataError(f"drain: expected 0 s or more, got {drain}")
    service: DetectionService = app.state.service
    with _bind(host, port) as bound:
        bound_port = bound.getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        on_start(f"http://{name}:{bound_port}")
        config = uvicorn.Config(
            app,
            http=_protocol(service.limits),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=_MAX_HEADER,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_LAST_ANSWERS,
        )
        _Server(config, service, drain).run(sockets=[bound])


def _bind(host: str, port: int) -> socket.socket:
    try:
        if not 0 <= port < 2**16:
            raise DataError(f"port: expected 0..65535, got {port}")
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=512)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise DataError(f"{host}:{port}: {reason}") from error


class _Server(uvicorn.Server):
    """uvicorn's server, which drains on a signal before it closes its socket, and does not raise the signal again."""

    def __init__(self, config: uvicorn.Config, service: DetectionService, drain: float) -> None:
        super().__init__(config)
        self._service = service
        self._drain = drain
        self._deadline = math.inf

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on the first signal, end on the second."""
        if self._service.is_draining:
            self.should_exit = self.force_exit = True
        else:
            self._service.is_draining = True  # a lock may be held by the code that the signal interrupts
            self._deadline = time.monotonic() + self._drain

    async def on_tick(self, counter: int) -> bool:
        """End when nothing is left to compute; called ten times a second."""
        if self._service.is_draining:
            self._service.drain(self._deadline - time.monotonic())
            self.should_exit |= self._service.is_idle
        return await super().on_tick(counter)


def _protocol(limits: Limits) -> type[asyncio.Protocol]:
    """uvicorn's protocol of a connection, with what it does not limit: connections, and the time of a header."""

    class Protocol(H11Protocol):
        _timer: asyncio.TimerHandle | None = None
        _is_refused = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Refuse a connection too many; give the others a time for their first header."""
            super().connection_made(transport)
            # asyncio does this for sockets of its own only. Without it a client's delayed acknowledgement of the header
            # holds the body back, by 40 ms on Linux.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self.connections) > limits.max_connections:
                self._refuse(503, f"there are {limits.max_connections} connections, which is the limit", retry=True)
            self._await_header(limits.body_timeout)

        def connection_lost(self, exc: Exception | None) -> None:
            """Forget the timer."""
            super().connection_lost(exc)
            if self._timer:
                self._timer.cancel()

        def data_received(self, data: bytes) -> None:
            """Read a request; drop what follows a refusal."""
            if not self._is_refused:
                super().data_received(data)

        def on_response_complete(self) -> None:
            """Give the next request of the connection a time for its header."""
            super().on_response_complete()
            self._await_header(_KEEP_ALIVE + limits.body_timeout)

        def send_400_response(self, msg: str) -> None:
            """Answer what is not HTTP with a sentence."""
            limit = f"a header of more than {_MAX_HEADER:,} bytes"
            self._refuse(400, f"expected a request of HTTP/1.1, found something else or {limit}")

        def _await_header(self, seconds: float) -> None:
            if self._timer:
                self._timer.cancel()
            self._timer = self.loop.call_later(seconds, self._check_header)

        def _check_header(self) -> None:
            if getattr(self.cycle, "response_complete", True):  # None before the first request
                self.transport.close()

        def _refuse(self, status: int, message: str, *, retry: bool = False) -> None:
            self._is_refused = True
            if getattr(self.cycle, "response_complete", True):
                content = json.dumps({"error": message})
                lines = [
                    f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}",
                    "Content-Type: application/json",
                    f"Content-Length: {len(content)}",
                    "Connection: close",
                    *(["Retry-After: 1"] if retry else []),
                ]
                self.transport.write("\r\n".join([*lines, "", content]).encode("ascii"))
                self.transport.write_eof()
            self.loop.call_later(_LINGER, self.transport.close)

    return Protocol
