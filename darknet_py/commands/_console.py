"""Text on the console: names and paths of files cannot control the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from ..messages import escape_controls


class EscapingText:
    """A text stream that escapes control characters, see ``escape_controls``; all else is that of the stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text and return its length."""
        self._stream.write("\r".join(map(escape_controls, text.split("\r"))))  # progress bars use carriage returns
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def escaping_control_characters() -> Iterator[None]:
    """Escape control characters that are printed inside the block; ``sys.stdout.buffer`` takes bytes unchanged."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, EscapingText(stream)) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
