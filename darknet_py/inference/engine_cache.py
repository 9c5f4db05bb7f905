"""The cache of converted networks: a folder for each, named by a hash of everything that determines its content.

An entry is verified by checksums before it is read; a damaged one is converted again. Processes may share the cache:
each converts in a folder of its own, reads the result there, and moves it to its place when it is complete.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import pathlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import metadata
from typing import TypeVar

import torch

from .. import cfg
from .._version import __version__
from ..errors import DarknetError
from ..files import temporary_folder
from ..hub.catalogue import cache_folder
from ..hub.download import file_sha256
from ..messages import get_logger
from ..network import Network

_CHECKSUMS = "sha256.json"
_CONVERTERS = ("torch", "onnx", "onnxscript", "onnx-ir")
_OWN_CONVERTERS = {"ncnn": ("pnnx",)}

_log = get_logger(__name__)
_converting = threading.Lock()  # the converters change state of the process, such as the levels of loggers
M = TypeVar("M")


def load_or_convert(
    network: Network, runtime: str, write: Callable[[pathlib.Path], None], read: Callable[[pathlib.Path], M]
) -> M:
    """Return a converted network from the cache, or convert it and keep it there.

    Args:
        network: The network.
        runtime: Name of the package that runs the converted network.
        write: Convert the network and write its files into an empty folder.
        read: Read the files of a folder.

    Returns:
        What ``read`` returns.

    Raises:
        DarknetError: The network cannot be converted, or the result cannot be read.
    """
    root = cache_folder() / "engines" / runtime
    with _converting:
        entry = root / cache_key(network, runtime)
        if _is_intact(entry):
            with suppress(Exception):  # another process has replaced it since, or the runtime refuses it: convert again
                return read(entry)
        with _scratch_folder(root, runtime) as scratch:
            new = scratch / "new"
            new.mkdir()
            try:
                write(new)
                model = read(new)
                checksums = {file.name: file_sha256(file) for file in sorted(new.iterdir())}
                (new / _CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")
            except Exception as error:  # the converters' exceptions have no common base class
                first_line = str(error).strip().partition("\n")[0]
                raise DarknetError(f"engine {runtime}: cannot convert the network: {first_line}") from error
            with suppress(OSError):  # another process has just put its own there
                if entry.exists():
                    entry.rename(scratch / "damaged")
                new.rename(entry)
        return model


def is_converted(network: Network, runtime: str) -> bool:
    """Whether the cache has the network with its current weights for a runtime."""
    return (cache_folder() / "engines" / runtime / cache_key(network, runtime) / _CHECKSUMS).is_file()


def can_keep() -> bool:
    """Whether the cache can be written to."""
    root = cache_folder() / "engines"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with temporary_folder(root):
            return True
    except (OSError, DarknetError):
        return False


def cache_key(network: Network, runtime: str) -> str:
    """Return a hash of the network, its weights and buffers, the input size, and the code that converts it."""
    packages = [(name, _package_version(name)) for name in (*_CONVERTERS, *_OWN_CONVERTERS.get(runtime, ()), runtime)]
    description = (cfg.dumps(network.config), network.dialect, network.shape, _code_version(), packages)
    key = hashlib.sha256(repr(description).encode("utf-8", "surrogateescape"))
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        key.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        key.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().data)
    return key.hexdigest()[:32]


@functools.cache
def _code_version() -> str:
    """Return the package's version with a hash of its modules, which may differ between checkouts of one version."""
    code = hashlib.sha256()
    for path in sorted(pathlib.Path(__file__).parents[1].rglob("*.py")):
        code.update(path.read_bytes())
    return f"{__version__} {code.hexdigest()}"


def _package_version(name: str) -> str:
    """Return a package's version; empty if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # another distribution may provide the module, such as onnxruntime-gpu
        with suppress(ImportError):
            return str(getattr(importlib.import_module(name.replace("-", "_")), "__version__", ""))
        return ""


def _is_intact(entry: pathlib.Path) -> bool:
    try:
        checksums = json.loads((entry / _CHECKSUMS).read_text(encoding="utf-8"))
        return all(file_sha256(entry / name) == checksum for name, checksum in checksums.items())
    except (OSError, ValueError, AttributeError):
        return False


@contextmanager
def _scratch_folder(root: pathlib.Path, runtime: str) -> Iterator[pathlib.Path]:
    """Create a temporary folder in the cache, or elsewhere if the cache cannot be written to."""
    with ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(temporary_folder(root))
        except OSError as error:
            reason = f"{error.filename or root}: {error.strerror or error}"
            _log.warning("engine %s: the converted network is not kept: %s (DARKNET_PY_HOME)", runtime, reason)
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        yield folder
