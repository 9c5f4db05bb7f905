"""Frames and detections over HTTP as Darknet's ``detector demo`` sends them (``http_stream.cpp``).

``-json_port`` is one endless JSON array, ``-mjpeg_port`` a video of JPEGs. Whatever a client requests, it gets the
stream from the next frame on, and one that does not take a frame within 0.4 s is disconnected. As in Darknet, all
addresses of the machine are bound. ``-http_post_host`` gets a text about each frame with objects.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image

from .._version import __version__
from ..errors import DataError
from ..images.reading import ImageArray
from ..results.formats import format_darknet_json
from ..results.results import Results

_TIMEOUT = 0.4  # seconds that a client may take for a frame
_POST_TIMEOUT = 3  # seconds
_HEADER = (
    "HTTP/1.0 200 OK\r\nServer: Mozarella/2.2\r\nAccept-Range: bytes\r\nConnection: close\r\nMax-Age: 0\r\n"
    "Expires: 0\r\nCache-Control: no-cache, private\r\nPragma: no-cache\r\nContent-Type: {}\r\n\r\n"
)
_POST_HEADERS = {
    "Content-Type": "text/plain",
    "Accept": "*/*",
    "Connection": "close",
    "User-Agent": f"darknet-py/{__version__}",
}
_QUALITY = 40  # of a JPEG, 1..100


class _StreamServer:
    """Sends each frame to all clients of a port; a context manager.

    Args:
        port: the port; 0: a free one.
        content_type: of the stream.

    Attributes:
        port: the port.

    Raises:
        DataError: the port cannot be bound.
    """

    def __init__(self, port: int, content_type: str) -> None:
        self._header = _HEADER.format(content_type).encode()
        self._clients: list[socket.socket] = []
        if not 0 <= port < 2**16:
            raise DataError(f"port: expected 0..65535, got {port}")
        try:
            self._socket = socket.create_server(("", port), backlog=10)
        except OSError as error:
            raise DataError(f"port {port}: {os.strerror(error.errno) if error.errno else error}") from error
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _accept(self, start: bytes) -> None:
        """Accept who waits, and send the header and ``start``."""
        accepted: list[socket.socket] = []
        with suppress(OSError):  # nobody waits, or there are too many open files
            while True:
                client, _ = self._socket.accept()
                client.settimeout(_TIMEOUT)
                accepted.append(client)
        self._clients += [client for client in accepted if self._send(client, self._header + start)]

    def _send_to_all(self, content: bytes) -> None:
        self._clients = [client for client in self._clients if self._send(client, content)]

    def _send(self, client: socket.socket, content: bytes) -> bool:
        """Send to a client; one that does not take it is disconnected, and the answer is False."""
        try:
            client.sendall(content)
        except OSError:
            client.close()
            return False
        return True

    def close(self) -> None:
        """Disconnect all clients, after what was sent."""
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)
                client.recv(1024)  # the request: closing with unread data would reset the connection
            client.close()
        self._clients = []
        self._socket.close()


class JSONStreamServer(_StreamServer):
    """A JSON array with an element for each frame, ``-json_port``."""

    def __init__(self, port: int) -> None:
        super().__init__(port, "application/json")

    def send(self, content: Mapping[str, Any]) -> None:
        """Send an element, see ``results.formats.to_darknet_json``."""
        element = format_darknet_json(content).encode(errors="backslashreplace")
        self._send_to_all(b", \n" + element)
        self._accept(b"[\n" + element)

    def close(self) -> None:
        """End the array."""
        self._send_to_all(b"\n]")
        super().close()


class MJPEGServer(_StreamServer):
    """A video of JPEGs, ``-mjpeg_port``."""

    def __init__(self, port: int) -> None:
        super().__init__(port, "multipart/x-mixed-replace; boundary=mjpegstream")

    def send(self, image: Image.Image | ImageArray) -> None:
        """Send a frame, RGB; it is encoded only if there is a client."""
        self._accept(b"")
        if not self._clients:
            return
        content = io.BytesIO()
        Image.fromarray(np.asarray(image)).save(content, "jpeg", quality=_QUALITY)
        jpeg = content.getvalue()
        head = f"--mjpegstream\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        self._send_to_all(head.encode() + jpeg)


def objects_message(results: Results, source: str) -> str:
    """Format the text of ``-http_post_host``: the first class of each box, the time, the video; empty without boxes.

    As in Darknet the first class is that of the lowest number above the threshold, not the most probable one.
    """
    classes = results.boxes.cls.tolist()
    firsts = [min(classes[row] for row in rows) for rows in results.boxes.by_box()]
    if not firsts:
        return ""
    lines = "".join(f"{results.names[cls]}, id: {cls}\n" for cls in firsts)
    return f"{lines}\ntime:\n{time.strftime('%A %Y-%m-%d %H:%M:%S')}\nvideosource:\n{source}"


def post_objects(host: str, message: str) -> None:
    """Send a message by POST as text/plain.

    Args:
        host: ``HOST[:PORT]/PATH``; Darknet's port is always 80.
        message: the text.

    Raises:
        DataError: it cannot be sent, within 3 seconds.
    """
    if host.startswith("https://"):
        raise DataError(f"{host}: expected HOST[:PORT]/PATH without encryption, found https://")
    name, _, path = host.removeprefix("http://").partition("/")
    try:
        connection = http.client.HTTPConnection(name, timeout=_POST_TIMEOUT)
        try:
            body = message.encode(errors="backslashreplace")
            connection.putrequest("POST", f"/{path}", skip_accept_encoding=True)
            for key, value in (_POST_HEADERS | {"Content-Length": str(len(body))}).items():
                connection.putheader(key, value)
            connection.endheaders(body)
            connection.getresponse().read()
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DataError(f"{host}: {getattr(error, 'strerror', None) or error}") from error
