"""One file from an address to its place on disk, whole and checked or not at all.

The bytes are written beside the target, held against what is known of the file, and moved there with
``os.replace``: what stands at the target has passed. A download that breaks off goes on where it stopped,
in this call and, where a hash would tell two halves that do not fit, in the next. A source that fails raises
SourceError with the reason in a few words; who called tries the next one.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

TIMEOUT = 30.0  # seconds without a byte
BLOCK = 1 << 18
_ATTEMPTS = 3
_AGENT = "darknet-py"  # urllib's own name is refused by pjreddie.com
_LARGEST_VERSION = 1000  # of a weights header; the first four bytes of a web page or an archive are far above


class SourceError(Exception):
    """Why one source did not give the file."""


@dataclass(frozen=True)
class Check:
    """What is known of a file before it is there; ``None`` and ``""`` say nothing.

    ``weights``: the file starts with the header of a Darknet weights file, so that the web page of a
    server that says no is not taken for one where neither size nor hash is known.
    """

    bytes: int | None = None
    sha256: str = ""
    weights: bool = False

    def size_of(self, path: pathlib.Path) -> None:
        """Raise SourceError unless the file has the known size."""
        found = path.stat().st_size
        if self.bytes is not None and found != self.bytes:
            raise SourceError(f"expected {self.bytes} bytes, found {found}")

    def content_of(self, path: pathlib.Path) -> None:
        """Raise SourceError unless size, header and SHA-256 are the known ones."""
        self.size_of(path)
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if self.weights and (len(start) < 4 or int.from_bytes(start, "little") > _LARGEST_VERSION):
                raise SourceError(f"expected a weights file, found one that starts with {start!r}")
            found = hashlib.file_digest(file, "sha256").hexdigest() if self.sha256 else ""
        if found != self.sha256:
            raise SourceError(f"expected SHA-256 {self.sha256}, found {found}")


@dataclass(frozen=True)
class Url:
    """A file behind an address; read without cookies, user or password."""

    url: str

    def __str__(self) -> str:
        return self.url

    def fetch(self, target: pathlib.Path, check: Check, *, progress: bool) -> None:
        """Download to ``target``. Raises SourceError."""
        mark = hashlib.sha256(self.url.encode()).hexdigest()[:8]
        part = target.with_name(f"{target.name}.{mark}.part")
        if not check.sha256:
            part.unlink(missing_ok=True)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._continue(part, check, progress)
                break
            except (OSError, http.client.HTTPException) as error:
                # urllib's own errors come before the first byte: the server said no, or there is none.
                if attempt == _ATTEMPTS or isinstance(error, urllib.error.URLError):
                    raise SourceError(_reason(error)) from error
        place(part, target, check)

    def _continue(self, part: pathlib.Path, check: Check, progress: bool) -> None:
        start = part.stat().st_size if part.exists() else 0
        if check.bytes is not None and start >= check.bytes:
            return  # whole, or too long: the check will tell
        request = urllib.request.Request(self.url, headers={"User-Agent": _AGENT, "Accept-Encoding": "identity"})
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            answer = _OPENER.open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            part.unlink()
            raise ConnectionError("nothing left to resume") from error
        with answer:
            resumed = str(answer.headers["Content-Range"]).startswith(f"bytes {start}-")
            start = start if resumed else 0
            length = answer.headers["Content-Length"]
            total = start + int(length) if length else check.bytes
            if check.bytes is not None and total != check.bytes:
                raise SourceError(f"expected {check.bytes} bytes, the server offers {total}")
            with part.open("ab" if resumed else "wb") as file, _bar(part.stem, start, total, progress) as advance:
                while block := answer.read(BLOCK):
                    file.write(block)
                    advance(len(block))
        found = part.stat().st_size
        if total is not None and found < total:
            raise ConnectionError(f"the connection ended after {found} of {total} bytes")


def place(part: pathlib.Path, target: pathlib.Path, check: Check) -> None:
    """Move ``part`` to ``target`` in one step, or delete it and raise SourceError where it fails ``check``."""
    try:
        check.content_of(part)
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
            raise urllib.error.URLError("it redirects from https to an address without it")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_SafeRedirects)


@contextlib.contextmanager
def _bar(name: str, start: int, total: int | None, progress: bool) -> Iterator[Callable[[int], object]]:
    from tqdm import tqdm

    with tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, disable=not progress) as bar:
        yield bar.update


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"cannot be reached: {error.reason}"
    return str(error) or type(error).__name__
