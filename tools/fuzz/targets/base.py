"""What a target is: seeds, mutations, and the code that reads a file."""

from __future__ import annotations

import pathlib
import random
import warnings
from collections.abc import Sequence

from ..mutations import mutate_bytes, mutate_text

ROOT = pathlib.Path(__file__).resolve().parents[3]
CFGS = ROOT / "cfgs"
CASES = ROOT / "tests" / "golden" / "cases"


class Target:
    """Reads files of one kind; the seeds are files in ``folder``, and the mutated files are written beside them.

    Args:
        folder: an empty folder.
    """

    cases = 100_000  # of the long run

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.seeds = self.make_seeds()

    def make_seeds(self) -> Sequence[pathlib.Path]:
        """Write valid files."""
        raise NotImplementedError

    def generate(self, rng: random.Random) -> pathlib.Path:
        """Write a mutated file and return its path."""
        seed = rng.choice(self.seeds)
        path = seed.with_name(f"fuzzed{seed.suffix}")
        path.write_bytes(self.mutate(seed.read_bytes(), rng))
        return path

    def mutate(self, data: bytes, rng: random.Random) -> bytes:
        """Return the mutated content of a file."""
        return mutate_bytes(data, rng)

    def read(self, path: pathlib.Path) -> None:
        """Read a file; anything but DarknetError is a fault."""
        raise NotImplementedError


class TextTarget(Target):
    """A text file."""

    def mutate(self, data: bytes, rng: random.Random) -> bytes:
        """Mutations of numbers, words and lines."""
        return mutate_text(data.decode("utf-8", errors="surrogateescape"), rng)


def write_text(path: pathlib.Path, text: str) -> pathlib.Path:
    """Write a text file in UTF-8 and return its path."""
    path.write_text(text, encoding="utf-8")
    return path


def read_quietly(target: Target, path: pathlib.Path) -> bool:
    """Read a file without its warnings; return whether it was accepted, False for a DarknetError."""
    from darknet_py.errors import DarknetError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            target.read(path)
        except DarknetError as error:
            str(error).encode("utf-8", errors="backslashreplace")
            return False
    return True
