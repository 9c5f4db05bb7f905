"""The image on stdin, which ``-`` names: also on Windows, which has no file ``/dev/stdin``."""

from __future__ import annotations

import os
import sys
from typing import IO

STDIN = "/dev/stdin"
"""What the image on stdin is called."""


def open_file(name: str) -> IO[bytes]:
    """Open a file to read, or stdin if it is called ``STDIN``. Raises OSError."""
    if name == STDIN and not os.path.exists(name):
        return open(sys.stdin.fileno(), "rb", closefd=False)
    return open(name, "rb")
