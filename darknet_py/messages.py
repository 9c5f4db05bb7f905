"""Text of others in messages: it cannot control the terminal that shows it, and shows no other file of the machine.

``escape_controls`` is applied to all errors and warnings of ``errors``, to what loggers of ``get_logger`` write, and to
what the command line prints. ``describe_text`` is what a message says of the content of a data set's files.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

# C0 and C1 controls except tab and newline, line separators, characters that change the direction of the text, and the
# bytes of names that are not UTF-8 (surrogates), which most handlers of logging cannot encode.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NUMBER = re.compile(r"[-+]?[\d.]{1,10}(e[-+]?\d{1,2})?", re.ASCII | re.IGNORECASE)


def escape_controls(text: str) -> str:
    """Return text with control characters as escapes, such as ``\\x1b`` and ``\\u202e``."""
    return _CONTROL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())  # JSON, which may be printed, escapes those below 0x20 itself and has no \\x
    return f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"


def describe_text(text: str) -> str:
    """Describe what a line of a file has instead of what was expected: one number as it is, other text by its size.

    The text is not shown: a label file, a list or a file that a ``.data`` file names may be any file, as a link to a
    file with passwords in the data set of someone else.
    """
    words = text.split()
    if len(words) != 1:
        return f"{len(words)} words, {sum(_NUMBER.fullmatch(word) is not None for word in words)} of them numbers"
    if _NUMBER.fullmatch(words[0]):
        return repr(words[0])
    return f"a word of {len(words[0])} character" + ("" if len(words[0]) == 1 else "s")


class _EscapingFilter(logging.Filter):
    """Escapes control characters in the messages of a logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the message where it has control characters."""
        message = record.getMessage()
        if (escaped := escape_controls(message)) != message:
            record.msg, record.args = escaped, ()
        return True


_ESCAPING = _EscapingFilter()


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module, which escapes control characters."""
    logger = logging.getLogger(name)
    logger.addFilter(_ESCAPING)
    return logger


@contextmanager
def info_on_stderr(name: str = "darknet_py") -> Iterator[None]:
    """Write a logger's messages from INFO on to stderr inside the block."""
    logger = get_logger(name)
    handler, level = logging.StreamHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


@contextmanager
def quiet_loggers(*names: str) -> Iterator[None]:
    """Silence loggers of other packages below ERROR inside the block."""
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
