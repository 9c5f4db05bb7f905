"""Download a file over HTTP, and check it.

The file is written next to the target, under a name that no other process writes to, checked, and moved with
``os.replace``: a file at the target has passed its checks. An interrupted download is resumed: by the next call too if
the SHA-256 is known; else only if the server confirms that its file is the same.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import http
import http.client
import os
import pathlib
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from .. import locks

TIMEOUT = 30.0  # seconds without data
BLOCK = 1 << 18
_ATTEMPTS = 3
_MAX_BYTES = 4 << 30  # of a file whose size is not known
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_AGENT = "darknet-py"  # pjreddie.com refuses urllib's default
_LARGEST_VERSION = 1000  # in the header of a weights file; the first four bytes of web pages and archives are larger


class SourceError(Exception):
    """A source failed; the message is the reason."""


def file_sha256(path: pathlib.Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Check:
    """The checks of a file.

    Attributes:
        sizes: the sizes that it may have; empty: unknown.
        sha256: its SHA-256 in hexadecimal digits; empty: unknown.
        weights: it must start with the header of a weights file. If neither size nor hash is known, this recognises an
            error page of the server.
    """

    sizes: tuple[int, ...] = ()
    sha256: str = ""
    weights: bool = False

    @property
    def limit(self) -> int:
        """Number of bytes that are read at most."""
        return max(self.sizes, default=_MAX_BYTES)

    def check_size(self, path: pathlib.Path) -> None:
        """Raise SourceError if the size of a file is not as expected."""
        self.check_bytes(path.stat().st_size, "found")

    def check_bytes(self, size: int, found: str) -> None:
        """Raise SourceError if a number of bytes is not as expected; ``found``: the words in front of it."""
        if self.sizes and size not in self.sizes:
            raise SourceError(f"expected {' or '.join(map(str, self.sizes))} bytes, {found} {size}")

    def check_content(self, path: pathlib.Path) -> None:
        """Raise SourceError if size, header or SHA-256 of a file are not as expected."""
        self.check_size(path)
        with path.open("rb") as file:
            start = file.read(4)
        if self.weights and (len(start) < 4 or int.from_bytes(start, "little") > _LARGEST_VERSION):
            raise SourceError(f"expected a weights file, found a file that starts with {start!r}")
        if self.sha256 and (digest := file_sha256(path)) != self.sha256:
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
        with _part_file(target, url_hash, is_kept=bool(check.sha256)) as part:
            download = _Download(self.url, part, check, progress)
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    download.resume()
                    break
                except (OSError, http.client.HTTPException) as error:
                    # A URLError comes before the first byte: no server, or it refused.
                    is_final = isinstance(error, urllib.error.URLError) or getattr(error, "errno", 0) in _FULL_DISK
                    if attempt == _ATTEMPTS or is_final:
                        raise SourceError(reason(error)) from error
            check_and_move(part, target, check)


class _Download:
    """A download into ``part``, which may be interrupted."""

    def __init__(self, url: str, part: pathlib.Path, check: Check, progress: bool) -> None:
        self._url = url
        self._part = part
        self._name = urllib.parse.urlsplit(url).path.rpartition("/")[2]
        self._check = check
        self._progress = progress
        self._version = ""  # the server's name for the version of the file

    def resume(self) -> None:
        """Request what is missing and write it. Raises OSError and HTTPException if another attempt may succeed."""
        check = self._check
        start = self._part.stat().st_size
        if check.sizes and start >= check.limit:
            return  # complete, or too long, which the check reports
        is_resumable = start > 0 and bool(check.sha256 or self._version)
        headers = {"Range": f"bytes={start}-"} if is_resumable else {}
        if is_resumable and self._version:
            headers["If-Range"] = self._version
        try:
            response = open_url(self._url, headers)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            os.truncate(self._part, 0)
            raise ConnectionError("the server cannot resume the download") from error
        with response:
            resumed = is_resumable and str(response.headers["Content-Range"]).startswith(f"bytes {start}-")
            self._write(response, start if resumed else 0)

    def _write(self, response: Any, start: int) -> None:
        """Write the content of a response from byte ``start`` of the file."""
        check = self._check
        etag = response.headers["ETag"] or ""
        self._version = etag if etag.startswith('"') else response.headers["Last-Modified"] or ""
        length = response.headers["Content-Length"]
        total = start + int(length) if length else None
        if total is not None:
            check.check_bytes(total, "the server offers")
        limit = check.limit if total is None else total
        size = start
        with (
            self._part.open("r+b") as file,
            _progress_bar(self._name, start, total, self._progress) as advance,
        ):
            file.truncate(start)
            file.seek(start)
            while block := response.read(BLOCK):
                size += len(block)
                if size > limit:
                    raise SourceError(f"expected at most {limit} bytes, the server sends more")
                file.write(block)
                advance(len(block))
        if total is not None and size < total:
            raise ConnectionError(f"the connection ended after {size} of {total} bytes")


@contextlib.contextmanager
def _part_file(target: pathlib.Path, url_hash: str, *, is_kept: bool) -> Iterator[pathlib.Path]:
    """A file next to ``target`` for this process alone: one that an interrupted download has left, or a new one.

    ``is_kept``: whether another call can resume the download. If not, the file is removed at the end.
    """
    stem = f"{target.name}.{url_hash}"
    for part in sorted(target.parent.glob(f"{glob.escape(stem)}-*.part")):
        if not is_kept:
            locks.remove_if_unlocked(part)
            continue
        held = locks.hold(part, certain=True)
        if held is not None:  # else another process downloads into it
            break
    else:
        held = None
        while held is None:
            part = target.with_name(f"{stem}-{secrets.token_hex(4)}.part")
            part.touch(exist_ok=False)
            held = locks.hold(part)
    try:
        yield part
    finally:
        with contextlib.suppress(FileNotFoundError):
            if not is_kept or part.stat().st_size == 0:
                part.unlink()
        locks.release(held)


def remove_parts(target: pathlib.Path) -> None:
    """Remove what interrupted downloads have left of a file that is complete."""
    for part in target.parent.glob(f"{glob.escape(target.name)}.*.part"):
        locks.remove_if_unlocked(part)


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
