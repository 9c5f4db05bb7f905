"""Text on the console: names and paths of files cannot control the terminal."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

# C0 and C1 control characters except tab, newline and carriage return, which progress bars use.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class EscapingText:
    """A text stream that writes control characters as escapes such as ``\\x1b``; all else is that of the stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text and return its length."""
        self._stream.write(_CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text))
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
