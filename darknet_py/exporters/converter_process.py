"""Converters of other projects in a process of their own.

litert-torch and coremltools write to stdout and stderr, change loggers, warnings and PyTorch's registries when they are
imported, and end the process where their C++ code finds something that it does not expect. So they run in
subprocesses, which are given the network as a file of ``torch.export``.
"""

from __future__ import annotations

import pathlib
import signal
import subprocess
import sys
from collections.abc import Sequence

import torch

from ..errors import DarknetError
from ..network import Network
from ..postprocess import Heads
from ..python_process import environment
from .traceable import TraceableNetwork, trace

PROGRAM = "network.pt2"  # the traced network, in the folder of a subprocess


def save_program(network: Network, heads: Heads, threshold: float, folder: pathlib.Path) -> TraceableNetwork:
    """Trace a network for one image, write it to ``PROGRAM`` in a folder, and return what was traced.

    Raises:
        DarknetError: The network cannot be traced, or has a state: these targets run without one.
    """
    if network.stateful:
        raise DarknetError("does not keep the state of recurrent layers: expected .onnx")
    module = TraceableNetwork(network, heads, threshold=threshold)
    torch.export.save(trace(module, False), folder / PROGRAM)
    return module


def run_module(name: str, arguments: Sequence[str], folder: pathlib.Path) -> None:
    """Run a module of this package in a new Python process, in a folder.

    Raises:
        DarknetError: The process failed: the last line that it wrote.
    """
    command = [sys.executable, "-m", f"{__package__}.{name}", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(with_package=True) | {"PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode < 0:
        raise DarknetError(f"the converter was ended by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise DarknetError(" ".join(lines[-1:])[:300] or f"exit status {done.returncode}")
