"""A C Darknet library (AlexeyAB's or pjreddie's ``libdarknet.so``) as a backend of ``compare``.

The C API exposes the output of the last layer only. So the library gets a cfg with an additional last layer that
concatenates the flattened outputs of all others.
"""

from __future__ import annotations

import ctypes.util
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from .. import cfg as cfg_
from .. import python_process
from .. import weights as weights_
from .._typing import StrPath
from ..boxes import NMSKind
from ..cfg import Config, Dialect
from ..errors import DarknetError
from ..layers import concatenation
from ..network import Network
from ..postprocess import nms_options
from . import libdarknet_process
from .backends import BackendOutput, ExternalBackend, Size, file_names, single_image_config

_DEBIAN = "/usr/lib/darknet/libdarknet.so"
_OUTPUT = "output.npz"
_LIBRARY = re.compile(r"(.+?\.(?:so|dylib|dll)[.\d]*):(.+)")  # LIBRARY:MODEL[,WEIGHTS]
_QUOTED_LINES = 3  # of the library's output, the last


def find_library() -> str:
    """Return the installed library. Raises DarknetError if there is none."""
    if os.path.exists(_DEBIAN):
        return _DEBIAN
    library = ctypes.util.find_library("darknet")
    if library is None:
        raise DarknetError(
            f"no darknet library is installed (looked for {_DEBIAN}): expected darknet:PATH/libdarknet.so:CFG,WEIGHTS"
        )
    return library


def detect_dialect(library: StrPath) -> Dialect:
    """Return the dialect of a library by the functions it exports. Raises DarknetError for other files."""
    name = os.fspath(library)
    try:
        content = pathlib.Path(name).read_bytes()
    except OSError as error:
        raise DarknetError(f"{name}: {error.strerror or error}") from error
    if b"get_network_boxes" not in content:
        raise DarknetError(f"{name}: not a darknet library: expected the function get_network_boxes in it")
    return Dialect.ALEXEYAB if b"network_predict_ptr" in content else Dialect.PJREDDIE


def run_library(
    library: StrPath,
    network: Network,
    weights: StrPath,
    x: Tensor,
    threshold: float,
    nms: float,
    nms_kind: str | None = None,
) -> tuple[dict[int, Tensor], Tensor | None]:
    """Run a C library on one image in a separate process.

    Args:
        library: The shared library.
        network: The network of the cfg, at the size of ``x``.
        weights: The .weights file.
        x: The input, float32 [1, channels, height, width] in 0..1.
        threshold: Score threshold of detections.
        nms: IoU threshold of NMS; 0 disables it.
        nms_kind: Kind of NMS; None: that of the cfg.

    Returns:
        The output of each layer, float32 [channels, height, width], by layer number; and the library's own detections,
        float32 [n, 6]: class, confidence, cx, cy, w, h relative to the input, or None for a network without heads.

    Raises:
        DarknetError: The library failed; the message quotes it.
    """
    shapes = [layer.shape for layer in network]
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        config = single_image_config(network)
        sections = (*config.sections, concatenation(range(len(shapes))))
        _write_cfg(folder / "network.cfg", config)
        _write_cfg(folder / "concatenated.cfg", dataclasses.replace(config, sections=sections))
        np.save(folder / "x.npy", x.numpy())
        job = {
            "library": os.path.abspath(library) if os.path.exists(library) else os.fspath(library),
            "cfg": str(folder / "network.cfg"),
            "concatenated_cfg": str(folder / "concatenated.cfg"),
            "weights": os.path.abspath(weights),
            "input": str(folder / "x.npy"),
            "output": str(folder / _OUTPUT),
            "floats": sum(shape.floats for shape in shapes),
            "threshold": threshold,
            "nms": nms,
        }
        (folder / "job.json").write_text(json.dumps(job | _head_options(network, nms_kind)), encoding="utf-8")
        _run_job(folder / "job.json", os.fspath(library))
        with np.load(folder / _OUTPUT) as output:
            floats, rows = torch.from_numpy(output["layers"]), torch.from_numpy(output["boxes"])
    parts = floats.split([shape.floats for shape in shapes])
    outputs = {number: part.view(*shape) for number, (part, shape) in enumerate(zip(parts, shapes, strict=True))}
    return outputs, rows if network.heads else None


@contextmanager
def serve_library(library: StrPath, network: Network, x: Tensor) -> Iterator[Callable[[Tensor], None]]:
    """Load a network into a C library in a separate process, and keep it loaded inside the block, for timing.

    Args:
        library: The shared library.
        network: The network, with its weights.
        x: The input that every call computes, float32 [batch, channels, height, width] in 0..1.

    Yields:
        A function that runs ``x`` image by image and returns afterwards; its argument is ignored.

    Raises:
        DarknetError: The library failed; the message quotes it.
    """
    detect_dialect(library)  # raises for other files
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        _write_cfg(folder / "network.cfg", single_image_config(network))
        weights_.save(network, folder / "network.weights", allow_non_finite=True)
        np.save(folder / "x.npy", x.numpy())
        request_read, request_write = os.pipe()
        reply_read, reply_write = os.pipe()
        job = {
            "library": os.path.abspath(library),
            "cfg": str(folder / "network.cfg"),
            "weights": str(folder / "network.weights"),
            "input": str(folder / "x.npy"),
            "pipes": (request_read, reply_write),
        }
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        with open(folder / "log.txt", "w+b") as log:
            process = subprocess.Popen(
                [sys.executable, libdarknet_process.__file__, str(folder / "job.json")],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=python_process.environment(),
                pass_fds=(request_read, reply_write),
            )
            os.close(request_read)
            os.close(reply_write)

            def wait() -> None:
                if not os.read(reply_read, 1):
                    log.seek(0)
                    raise _failure(os.fspath(library), process.wait(), log.read())

            def run_once(_x: Tensor) -> None:
                os.write(request_write, b".")
                wait()

            try:
                wait()
                yield run_once
            finally:
                os.close(request_write)
                process.wait()
                os.close(reply_read)


def _write_cfg(path: pathlib.Path, config: Config) -> None:
    path.write_text(cfg_.dumps(config), encoding="utf-8", errors="surrogateescape")


def _head_options(network: Network, nms_kind: str | None) -> dict[str, object]:
    """Return the options with which the library detects: classes, image size, NMS."""
    if not network.heads:
        return {"classes": 0}
    options = nms_options(network, nms_kind)
    if not options.kind.is_darknets:
        raise DarknetError(f"nms_kind={options.kind}: C Darknet has no such NMS; compare with one of Darknet's kinds")
    shape = network.shape
    # Image size for get_network_boxes, such that boxes are relative to the input: pjreddie's code undoes a letterbox
    # unless the image has the aspect ratio of the input, and multiplies boxes of [detection] heads by this size.
    no_letterbox = network.dialect is Dialect.ALEXEYAB or shape.width == shape.height
    return {
        "classes": network.heads[-1].classes,
        "size": (1, 1) if no_letterbox else (shape.width, shape.height),
        "nms_kind": list(NMSKind).index(options.kind),  # the order of C's NMS_KIND
        "beta_nms": options.beta,
    }


def _run_job(job: pathlib.Path, library: str) -> None:
    with subprocess.Popen(
        [sys.executable, libdarknet_process.__file__, str(job)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=python_process.environment(),
    ) as process:
        log, _ = process.communicate()
    if not (job.parent / _OUTPUT).exists():  # Darknet exits with status 0 even if a file is missing
        raise _failure(library, process.returncode, log)


def _failure(library: str, status: int, log: bytes) -> DarknetError:
    lines = [line.strip() for line in log.decode(errors="replace").splitlines() if line.strip()]
    return DarknetError(f"{library}: exited with status {status}: {' / '.join(lines[-_QUOTED_LINES:])}")


class LibdarknetBackend(ExternalBackend):
    """A model run by a C Darknet library."""

    def __init__(self, text: str) -> None:
        match = _LIBRARY.fullmatch(text)
        self.library, model = match.groups() if match else (find_library(), text)
        super().__init__(model)
        self.dialect = detect_dialect(self.library)

    def __str__(self) -> str:
        """Files and library."""
        return f"{file_names(self.model)} ({self.library}, {self.dialect})"

    def load(self, size: Size | None, dialect: Dialect | None) -> None:
        """Read the cfg in the library's dialect."""
        super().load(size, self.dialect)

    def run(
        self, x: Tensor, threshold: float, nms: float, other: Network | None, nms_kind: str | None = None
    ) -> BackendOutput:
        """Return every layer's output and the library's own detections."""
        network = self.loaded_network
        return BackendOutput(*run_library(self.library, network, self.weights, x, threshold, nms, nms_kind))
