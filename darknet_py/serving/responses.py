"""What all responses have in common: JSON errors, headers, and a count of each request."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from .metrics import Metrics

try:
    from starlette.datastructures import MutableHeaders
    from starlette.responses import JSONResponse, Response
except ImportError as error:
    raise ImportError("serving needs Starlette: pip install 'darknet-torch[serve]'") from error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",  # pages of other sites cannot show a video of this server
    "Referrer-Policy": "no-referrer",
}


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return a sentence as JSON."""
    return JSONResponse({"error": message}, status, headers)


class ResponseFrame:
    """ASGI middleware: checks the Host header, adds headers to each response and counts it.

    Args:
        app: the endpoints.
        metrics: what counts.
        paths: the paths that are counted by name; others are counted as ``other``.
        streams: of these, those whose time is not measured.
        hosts: names that the Host header may have, besides addresses; None: any.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        paths: Collection[str],
        streams: Collection[str],
        hosts: Collection[str] | None,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths
        self._streams = streams
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            app = self._app if self._is_known_host(scope) else _refuse_host
            await app(scope, receive, send_framed)
        finally:
            path = scope["path"].removeprefix(scope.get("root_path", ""))  # of a larger application
            path = path if path in self._paths else "other"
            seconds = None if path in self._streams else time.perf_counter() - started
            self._metrics.count_request(path, status, seconds)

    def _is_known_host(self, scope: Scope) -> bool:
        """Whether the Host header names this server, and not a name that an attacker lets point to it."""
        return self._hosts is None or _host(scope) in self._hosts or _is_address(_host(scope))


def _host(scope: Scope) -> str:
    """The Host header without the port, in lower case."""
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    host = values[0].lower() if len(values) == 1 else ""
    address = re.fullmatch(r"\[(.*)\](:\d*)?", host)  # of IPv6
    return address[1] if address else host.partition(":")[0]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _refuse_host(scope: Scope, receive: Receive, send: Send) -> None:
    message = "Host: expected localhost, an address, or a name of --allowed-hosts"
    await error_response(400, message)(scope, receive, send)
