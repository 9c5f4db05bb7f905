"""``DeferredSignals``: defer SIGINT (Ctrl-C), SIGTERM and SIGHUP to the end of the current iteration."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

# A closed terminal or connection sends SIGHUP; Windows does not have it.
_HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)


class DeferredSignals:
    """Context manager: the first signal inside the block sets ``received``, the second raises KeyboardInterrupt.

    SIGHUP that the process ignores, as under ``nohup``, stays ignored. Signal handlers can only be set in the main
    thread; in any other thread nothing is deferred.

    Args:
        on_first: Called when the first signal arrives.

    Attributes:
        received: Whether a signal has arrived.
    """

    def __init__(self, on_first: Callable[[], None]) -> None:
        self.received = False
        self._on_first = on_first
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM]
            if _HANGUP is not None and signal.getsignal(_HANGUP) != signal.SIG_IGN:
                numbers.append(_HANGUP)
            self._previous = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = True
        self._on_first()
