"""Download a file over HTTP, and check it.

The file is written next to the target, checked, and moved with ``os.replace``: a file at the target has passed its
checks. An interrupted download is resumed, within a call and, if the SHA-256 is known, by the next call.
"""

from __future__ import annotations

import contextlib
import hashlib
import http
import http.client
import os
import pathlib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

TIMEOUT = 30.0  # seconds without data
BLOCK = 1 << 18
_ATTEMPTS = 3
_AGENT = "darknet-py"  # pjreddie.com refuses urllib's default
_LARGEST_VERSION = 1000  # in the header of a weights file; the first four bytes of web pages and archives are larger


class SourceError(Exception):
    """A source failed; the message is the reason."""


@dataclass(frozen=True)
class Check:
    """The checks of a file.

    Attributes:
        bytes: its size; None: unknown.
        sha256: its SHA-256 in hexadecimal digits; empty: unknown.
        weights: it must start with the header of a weights file. If neither size nor hash is known, this recognises an
            error page of the server.
    """

    bytes: int | None = None
    sha256: str = ""
    weights: bool = False

    def check_size(self, path: pathlib.Path) -> None:
        """Raise SourceError if the size of a file is not as expected."""
        size = path.stat().st_size
        if self.bytes is not None and size != self.bytes:
            raise SourceError(f"expected {self.bytes} bytes, found {size}")

    def check_content(self, path: pathlib.Path) -> None:
        """Raise SourceError if size, header or SHA-256 of a file are not as expected."""
        self.check_size(path)
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if self.weights and (len(start) < 4 or int.from_bytes(start, "little") > _LARGEST_VERSION):
                raise SourceError(f"expected a weights file, found a file that starts with {start!r}")
            digest = hashlib.file_digest(file, "sha256").hexdigest() if self.sha256 else ""
        if digest != self.sha256:
            raise SourceError(f"expected SHA-256 {self.sha256}, found {digest}")


@dataclass(frozen=True)
class Url:
    """A file at a URL; downloaded without cookies or credentials."""

    url: str

    def __str__(self) -> str:
        return self.url

    def fetch(self, target: pathlib.Path, check: Check, *, progress: bool) -> None:
        """Download the file to ``target``. Raises SourceError."""
        url_hash = hashlib.sha256(self.url.encode()).hexdigest()[:8]
        part = target.with_name(f"{target.name}.{url_hash}.part")
        if not check.sha256:
            part.unlink(missing_ok=True)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._resume(part, check, progress)
                break
            except (OSError, http.client.HTTPException) as error:
                # A URLError comes before the first byte: no server, or it refused.
                if attempt == _ATTEMPTS or isinstance(error, urllib.error.URLError):
                    raise SourceError(reason(error)) from error
        check_and_move(part, target, check)

    def _resume(self, part: pathlib.Path, check: Check, progress: bool) -> None:
        start = part.stat().st_size if part.exists() else 0
        if check.bytes is not None and start >= check.bytes:
            return  # complete, or too long, which the check reports
        try:
            response = open_url(self.url, {"Range": f"bytes={start}-"} if start else {})
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            part.unlink()
            raise ConnectionError("the server cannot resume the download") from error
        with response:
            resumed = str(response.headers["Content-Range"]).startswith(f"bytes {start}-")
            start = start if resumed else 0
            length = response.headers["Content-Length"]
            total = start + int(length) if length else check.bytes
            if check.bytes is not None and total != check.bytes:
                raise SourceError(f"expected {check.bytes} bytes, the server offers {total}")
            with (
                part.open("ab" if resumed else "wb") as file,
                _progress_bar(part.stem, start, total, progress) as advance,
            ):
                while block := response.read(BLOCK):
                    file.write(block)
                    advance(len(block))
        size = part.stat().st_size
        if total is not None and size < total:
            raise ConnectionError(f"the connection ended after {size} of {total} bytes")


def check_and_move(part: pathlib.Path, target: pathlib.Path, check: Check) -> None:
    """Move a file to ``target`` atomically if it passes its checks; else delete it and raise SourceError."""
    try:
        check.check_content(part)
    except SourceError:
        part.unlink()
        raise
    os.replace(part, target)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.type == "https" and urllib.parse.urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError("redirected from https to another scheme")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_SafeRedirects)


def open_url(url: str, headers: Mapping[str, str] | None = None) -> Any:
    """Request a URL, following redirects except from https to another scheme; returns urllib's response."""
    all_headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"} | dict(headers or {})
    return _OPENER.open(urllib.request.Request(url, headers=all_headers), timeout=TIMEOUT)


@contextlib.contextmanager
def _progress_bar(name: str, start: int, total: int | None, progress: bool) -> Iterator[Callable[[int], object]]:
    from tqdm import tqdm

    with tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, disable=not progress) as bar:
        yield bar.update


def reason(error: Exception) -> str:
    """Format why a request failed."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"no connection: {error.reason}"
    return str(error) or type(error).__name__
