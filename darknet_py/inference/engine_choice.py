"""Which of the installed engines is the fastest for a network: a trial, and its result on disk.

The trial runs the engines in turns, see ``timing``, and compares the fastest round of each: whatever else the machine
does makes rounds slower only.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pathlib
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata

import torch
from torch import Tensor

from .. import cfg
from .._version import __version__
from ..errors import DarknetError
from ..files import atomic_write
from ..hub.catalogue import cache_folder
from ..messages import get_logger
from ..network import Network
from ..processor import describe_processor
from .timing import time_interleaved

Engine = Callable[[Tensor], list[Tensor]]
_ROUNDS = 3  # of a trial
_SECONDS = 1.0  # that the timed calls of an engine take together at least
TOLERANCE = 1e-4  # of the outputs, RMS of the difference over RMS, see docs/performance.md
_PACKAGES = ("torch", "openvino", "onnxruntime", "ncnn")

_log = get_logger(__name__)


@dataclass(frozen=True)
class EngineChoice:
    """The result of a trial.

    Attributes:
        engine: Name of the fastest engine.
        ms: Milliseconds of a batch, the median of the fastest round, by engine.
        left_out: Why an engine was not timed, by its name.
    """

    engine: str
    ms: Mapping[str, float]
    left_out: Mapping[str, str] = field(default_factory=dict)


def try_engines(
    network: Network, candidates: Mapping[str, Callable[[], Engine]], x: Tensor, *, progress: bool = True
) -> EngineChoice:
    """Open the engines, compare their outputs with the plain layers', and time them.

    Args:
        network: The network.
        candidates: Functions that open the engines, by name, with ``torch`` among them.
        x: Images, float32 [batch, channels, height, width] in 0..1.
        progress: Show on stderr what is converted, if that is a terminal.
    """
    from tqdm import tqdm

    expected = network.predict(x[-1:])
    engines: dict[str, Engine] = {}
    left_out: dict[str, str] = {}
    opening = tqdm(candidates.items(), desc="engine auto", leave=False, disable=None if progress else True)
    for name, create in opening:
        opening.set_postfix_str(f"preparing {name}")
        try:
            engines[name] = create()
            outputs = engines[name](x)  # of the whole batch: an engine may be able to run one image only
            last = [y[len(x) - 1 :] for y in outputs]
            if (difference := relative_difference(last, expected)) > TOLERANCE:
                del engines[name]
                left_out[name] = f"its outputs differ from the network's by {difference:.1e} of their RMS"
        except DarknetError as error:
            engines.pop(name, None)
            left_out[name] = str(error)
    for name, reason in left_out.items():
        _log.info("engine auto: without %s: %s", name, reason)
    seconds = _SECONDS / _ROUNDS
    times = time_interleaved(engines, x, repeats=_ROUNDS, warmup=0, seconds=seconds) if len(engines) > 1 else {}
    ms = {name: min(of_rounds) for name, of_rounds in times.items()}
    engine = min(ms, key=lambda name: ms[name]) if ms else "torch"
    return EngineChoice(engine, ms, left_out)


def relative_difference(outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """RMS of the difference over the RMS of the output, the largest of all outputs; Inf for NaN and other shapes."""
    if [y.shape for y in outputs] != [y.shape for y in expected]:
        return float("inf")
    largest = 0.0
    for y, wanted in zip(outputs, expected, strict=True):
        rms = float(wanted.double().square().mean().sqrt())
        value = float((y - wanted).double().square().mean().sqrt()) / max(rms, 1e-12)
        largest = max(largest, value if value == value else float("inf"))
    return largest


def load_choice(network: Network, batch: int, dtype: str) -> EngineChoice | None:
    """Return the result of an earlier trial of such a network on this machine, or None."""
    try:
        content = json.loads(_path(network, batch, dtype).read_text(encoding="utf-8"))
        return EngineChoice(str(content["engine"]), dict(content["ms"]), dict(content["left_out"]))
    except (OSError, ValueError, TypeError, LookupError):  # none, or damaged: it is made again
        return None


def save_choice(choice: EngineChoice, network: Network, batch: int, dtype: str) -> None:
    """Keep the result of a trial; a cache that cannot be written to is reported."""
    path = _path(network, batch, dtype)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "w", encoding="utf-8") as file:
            json.dump(asdict(choice), file, indent=1)
    except (OSError, DarknetError) as error:
        _log.warning("engine auto: the choice is not kept: %s (DARKNET_PY_HOME)", error)


def _path(network: Network, batch: int, dtype: str) -> pathlib.Path:
    """File of the choice for a network's structure and size, a batch, the threads, this machine and the versions.

    The weights are no part of it: they do not change the time.
    """
    parts = (
        cfg.dumps(network.config),
        str(network.dialect),
        tuple(network.shape),
        batch,
        dtype,
        torch.get_num_threads(),
        _machine(),
        __version__,
    )
    digest = hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_folder() / "engines" / "choices" / f"{digest[:32]}.json"


@functools.cache
def _machine() -> tuple[str, ...]:
    """Processor, cores and versions of the runtimes."""
    versions = []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append("")
    return (platform.node(), platform.machine(), describe_processor(), str(os.cpu_count()), *versions)
