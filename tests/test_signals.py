"""Signals are deferred; SIGHUP only if the process does not ignore it."""

from __future__ import annotations

import signal

import pytest

from darknet_py.signals import DeferredSignals

hangup = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP on Windows")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", pytest.param("SIGHUP", marks=hangup)])
def test_the_first_signal_is_noted_and_the_second_interrupts(name: str) -> None:
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)  # under nohup SIGHUP is ignored
    calls: list[int] = []
    try:
        with DeferredSignals(lambda: calls.append(1)) as signals:
            signal.raise_signal(number)
            assert signals.received
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
        assert calls == [1]
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


@hangup
def test_an_ignored_hangup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with DeferredSignals(lambda: None) as signals:
            signal.raise_signal(signal.SIGHUP)
            assert not signals.received
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
