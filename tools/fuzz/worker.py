"""The process that reads the mutated files, with a time and a memory limit; a new one after a hang or a crash."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import tempfile
import traceback
from multiprocessing.connection import Connection
from types import TracebackType
from typing import NamedTuple, Self

SECONDS = 20.0  # for one case
MEMORY = 6 << 30  # bytes of one process
_START_SECONDS = 300.0


class Outcome(NamedTuple):
    """What came of a case.

    Attributes:
        kind: "result", "error" (a DarknetError), "exception" (any other), "hang" or "crash".
        place: of an exception, its type and the innermost line of the package; of a crash, the exit status.
        detail: the traceback.
    """

    kind: str
    place: str = ""
    detail: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether the reader is at fault."""
        return self.kind not in ("result", "error")


class Worker:
    """A process that runs the cases of one target; it is replaced after a hang or a crash.

    Args:
        target: a name of ``targets.TARGETS``.
        seed: case ``n`` depends on ``seed`` and ``n`` only.
    """

    def __init__(self, target: str, seed: int) -> None:
        self.target, self.seed = target, seed
        self.folder = tempfile.mkdtemp(prefix="fuzz-")
        self._start()

    def run(self, case: int, keep: pathlib.Path | None = None) -> Outcome:
        """Run a case; ``keep`` is a folder into which the mutated file is copied."""
        self.connection.send((case, keep))
        if not self.connection.poll(SECONDS):
            self._stop()
            self._start()
            return Outcome("hang", f"more than {SECONDS:.0f} s")
        try:
            outcome: Outcome = self.connection.recv()
        except EOFError:
            self.process.join()
            status = self.process.exitcode or 0
            self._start()
            return Outcome("crash", signal.Signals(-status).name if status < 0 else f"exit status {status}")
        return outcome

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        folder = tempfile.mkdtemp(dir=self.folder)
        self.process = context.Process(target=_serve, args=(other, self.target, self.seed, folder), daemon=True)
        self.process.start()
        other.close()
        try:
            if not self.connection.poll(_START_SECONDS):
                raise EOFError
            self.connection.recv()
        except EOFError:
            raise RuntimeError(f"{self.target}: the worker has not started; see its traceback above") from None

    def _stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, target_name: str, seed: int, folder: str) -> None:
    """Run the cases that arrive, until the connection closes."""
    import logging
    import resource

    from .targets import TARGETS
    from .targets.base import read_quietly

    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported, by the targets that need it
    target = TARGETS[target_name](pathlib.Path(folder))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    for descriptor in (1, 2):  # the messages of libraries
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    connection.send(None)
    while True:
        try:
            case, keep = connection.recv()
        except EOFError:
            return
        try:
            path = target.generate(random.Random(f"{target_name} {seed} {case}"))
            if keep is not None:
                shutil.copy(path, keep / f"{target_name}_{case}{path.suffix}")
            outcome = Outcome("result" if read_quietly(target, path) else "error")
        except BaseException as error:
            outcome = Outcome("exception", _place(error), traceback.format_exc())
        connection.send(outcome)


def _place(error: BaseException) -> str:
    """Type of an exception and the innermost line of the package in its traceback."""
    lines = [
        _line(frame) for frame in _frames(error.__traceback__) if "darknet_py" in frame.tb_frame.f_code.co_filename
    ]
    return f"{type(error).__name__} in {lines[-1] if lines else 'the fuzzer'}"


def _frames(trace: TracebackType | None) -> list[TracebackType]:
    frames = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    return frames


def _line(frame: TracebackType) -> str:
    code = frame.tb_frame.f_code
    return f"darknet_py/{code.co_filename.rpartition('darknet_py/')[2]}:{frame.tb_lineno} {code.co_name}"
