"""Read bytes from files whose reads may be short: pipes, files of network file systems and unbuffered ones."""

from __future__ import annotations

from typing import BinaryIO


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """Read ``size`` bytes; fewer at the end of the file only."""
    content = bytearray(size)
    return bytes(content[: fill(file, memoryview(content))])


def fill(file: BinaryIO, view: memoryview) -> int:
    """Read from a file until a buffer of bytes is full or the file ends, and return the number of bytes read.

    One read may return less than it is asked for: pipes, network file systems and unbuffered files do.
    """
    filled = 0
    while filled < len(view) and (count := file.readinto(view[filled:])):  # type: ignore[attr-defined]
        filled += count
    return filled
