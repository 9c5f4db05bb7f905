"""``DeferredSignals``: defer SIGINT (Ctrl-C), SIGTERM, SIGHUP and those of batch systems to the end of an iteration."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

# A closed terminal or connection sends SIGHUP; Windows does not have it.
_HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
# Batch systems such as Slurm warn with them before a limit of time; SIGXCPU comes every second.
_WARNINGS = [getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2", "SIGXCPU") if hasattr(signal, name)]
_REPEATED = getattr(signal, "SIGXCPU", None)


class DeferredSignals:
    """Context manager: the first signal inside the block sets ``received``, the second raises KeyboardInterrupt.

    SIGHUP that the process ignores, as under ``nohup``, stays ignored. SIGUSR1, SIGUSR2 and SIGXCPU are deferred unless
    the process has a handler for them; SIGXCPU is repeated by the system, and only the first counts. Signal handlers
    can only be set in the main thread; in any other thread nothing is deferred.

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
            numbers += [number for number in _WARNINGS if signal.getsignal(number) == signal.SIG_DFL]
            self._previous = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            if number == _REPEATED:
                return
            raise KeyboardInterrupt
        self.received = True
        self._on_first()
