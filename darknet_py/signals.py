"""``DeferredSignals``: defer SIGINT (Ctrl-C), SIGTERM and SIGHUP to the end of the current iteration."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

# SIGHUP, which a closed terminal or connection sends, does not exist on Windows.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class DeferredSignals:
    """Context manager: the first signal inside the block sets ``received``, the second raises KeyboardInterrupt.

    A signal that the process ignores, as SIGHUP under ``nohup``, stays ignored. Signal handlers can only be set in the
    main thread; in any other thread nothing is deferred.

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
            heeded = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
            self._previous = {number: signal.signal(number, self._handle) for number in heeded}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = True
        self._on_first()
