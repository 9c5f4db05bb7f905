"""Converters of other projects (litert-torch, coremltools) in a process of their own.

litert-torch and coremltools write to stdout and stderr, change loggers, warnings and PyTorch's registries when they are
imported, and end the process where their C++ code finds something that it does not expect. So they run in
subprocesses, which are given the network as a file of ``torch.export``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from ..errors import DarknetError
from ..messages import get_logger
from ..network import Network
from ..postprocess import Heads
from ..python_process import environment
from . import metadata
from .traceable import TraceableNetwork, trace

PROGRAM = "network.pt2"  # the traced network, in the folder of a subprocess
_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_log = get_logger(__name__)


class Converter(NamedTuple):
    """A package that converts, and the format that it writes."""

    package: str  # on PyPI, with a module of that name
    format: str
    extra: str  # of darknet-torch


class Program(NamedTuple):
    """A traced network."""

    folder: pathlib.Path  # has PROGRAM, and is removed in the end
    module: TraceableNetwork  # what was traced
    metadata: dict[str, str]


@contextlib.contextmanager
def converting(
    converter: Converter, network: Network, path: pathlib.Path, heads: Heads, options: Mapping[str, Any]
) -> Iterator[Program]:
    """Trace a network for one image; the block converts it with ``run_module``.

    Args:
        converter: What converts.
        network: A network without a state: these formats have none.
        path: What will be written, for messages.
        heads: What it returns: ``raw`` or ``boxes``.
        options: Those of ``metadata.describe``.

    Raises:
        DarknetError: The package is not installed, the network cannot be traced, or the block raised one.
    """
    package, format_name, extra = converter
    if importlib.util.find_spec(package.replace("-", "_")) is None:
        raise DarknetError(f"export to {format_name} needs the package {package}: pip install 'darknet-torch[{extra}]'")
    described = {key: options[key] for key in ("names", "letterbox", "threshold", "nms", "fp16")}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            if network.stateful:
                raise DarknetError("does not keep the state of recurrent layers: expected .onnx")
            module = TraceableNetwork(network, heads, threshold=options["threshold"])
            torch.export.save(trace(module, False), folder / PROGRAM)
            entries = metadata.describe(network, heads=heads, outputs=module.output_names, **described)
            _log.info("converting with %s, which takes a minute or more", package)
            yield Program(folder, module, entries)
        except DarknetError as error:
            raise DarknetError(f"{path.name}: {format_name}: {error}") from error


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
    if done.returncode:
        raise DarknetError(describe_failure(done))


def describe_failure(done: subprocess.CompletedProcess[str]) -> str:
    """Say why a process failed: the signal that ended it, or the last line that it wrote to stderr."""
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        memory = ", as where there is too little memory" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{memory}"
    lines = [line.strip() for line in _COLOURS.sub("", done.stderr).splitlines() if line.strip()]
    last = " ".join(lines[-1:]).removeprefix(f"{DarknetError.__module__}.{DarknetError.__name__}: ")
    return last[:300] or f"exit status {done.returncode}"
