"""Processes that run a function and are killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from darknet_py import files


def kill_after(run: Callable[[], None], seconds: float) -> bool:
    """Run a function in a new process, kill it after some time, and return whether it was still running."""
    process = _fork(run)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def run_in_process(run: Callable[[], object]) -> None:
    """Run a function in a new process to its end."""
    status = os.waitpid(_fork(run), 0)[1]
    assert status == 0, f"ended with status {status}"


def _fork(run: Callable[[], object]) -> int:
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        files._searched.clear()  # a new process has looked nowhere
        run()
        status = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)
