"""A C Darknet library (AlexeyAB's or pjreddie's ``libdarknet.so``), asked for every layer's output and the boxes.

The library shows the last layer's output alone. So it is given a cfg with one more layer, a ``[route]`` of
all the others: that copies their outputs one behind the other, whatever their shapes are.
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
from .. import weights as weights_
from .._typing import StrPath
from ..boxes import NMSKind
from ..cfg import Config, Dialect, Entry, Section
from ..errors import DarknetError
from ..layers.route import Route
from ..network import Network
from . import libdarknet_process
from .backends import BackendOutput, ExternalBackend, Size, at_size, files

_DEBIAN = "/usr/lib/darknet/libdarknet.so"
_OUTPUT = "found.npz"
_LIBRARY = re.compile(r"(.+?\.(?:so|dylib|dll)[.\d]*):(.+)")  # LIBRARY:MODEL[,WEIGHTS]
_LINES = 3  # of what the library says before it ends


def installed() -> str:
    """The library that the system has. Raises DarknetError where there is none."""
    if os.path.exists(_DEBIAN):
        return _DEBIAN
    found = ctypes.util.find_library("darknet")
    if found is None:
        raise DarknetError(
            f"no darknet library here (looked for {_DEBIAN}): write darknet:PATH/libdarknet.so:CFG,WEIGHTS"
        )
    return found


def dialect(library: StrPath) -> Dialect:
    """Whose library a file is, by the functions it has. Raises DarknetError for a file that is no such library."""
    name = os.fspath(library)
    try:
        content = pathlib.Path(name).read_bytes()
    except OSError as error:
        raise DarknetError(f"{name}: {error.strerror or error}") from error
    if b"get_network_boxes" not in content:
        raise DarknetError(f"{name}: no darknet library: expected one that has get_network_boxes")
    return Dialect.ALEXEYAB if b"network_predict_ptr" in content else Dialect.PJREDDIE


def run(
    library: StrPath, network: Network, weights: StrPath, x: Tensor, threshold: float, nms: float
) -> tuple[dict[int, Tensor], Tensor | None]:
    """Outputs [channels, height, width] by layer, and rows of class, confidence, x, y, w, h where there are heads.

    ``network``: our reading of the cfg, at the size of ``x`` [1, channels, height, width]. The boxes are the
    library's own, relative to the input. Raises DarknetError with what the library said.
    """
    shapes = [layer.shape for layer in network]
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        config = at_size(network)
        every = ",".join(str(number) for number in range(len(shapes)))
        join = Section(Route.names[0], (Entry("layers", every),))
        _write(place / "network.cfg", config)
        _write(place / "joined.cfg", dataclasses.replace(config, sections=(*config.sections, join)))
        np.save(place / "x.npy", x.numpy())
        job = {
            "library": os.path.abspath(library) if os.path.exists(library) else os.fspath(library),
            "cfg": str(place / "network.cfg"),
            "joined": str(place / "joined.cfg"),
            "weights": os.path.abspath(weights),
            "input": str(place / "x.npy"),
            "output": str(place / _OUTPUT),
            "floats": sum(shape.floats for shape in shapes),
            "threshold": threshold,
            "nms": nms,
        }
        (place / "job.json").write_text(json.dumps(job | _of_heads(network)), encoding="utf-8")
        _start(place / "job.json", os.fspath(library))
        with np.load(place / _OUTPUT) as found:
            floats, rows = torch.from_numpy(found["layers"]), torch.from_numpy(found["boxes"])
    parts = floats.split([shape.floats for shape in shapes])
    outputs = {number: part.view(*shape) for number, (part, shape) in enumerate(zip(parts, shapes, strict=True))}
    return outputs, rows if network.heads else None


@contextmanager
def serving(library: StrPath, network: Network, x: Tensor) -> Iterator[Callable[[Tensor], None]]:
    """The library with the network loaded, as a function that runs ``x`` [batch, ...], image by image, and waits.

    For timing: every call computes the same input whatever it is given. Raises DarknetError with what the library said.
    """
    dialect(library)  # is it one?
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        _write(place / "network.cfg", at_size(network))
        weights_.save(network, place / "network.weights")
        np.save(place / "x.npy", x.numpy())
        orders, order = os.pipe()
        done, tell = os.pipe()
        job = {
            "library": os.path.abspath(library),
            "cfg": str(place / "network.cfg"),
            "weights": str(place / "network.weights"),
            "input": str(place / "x.npy"),
            "pipes": (orders, tell),
        }
        (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
        with open(place / "said.txt", "w+b") as said:
            process = subprocess.Popen(
                [sys.executable, "-P", libdarknet_process.__file__, str(place / "job.json")],
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
                pass_fds=(orders, tell),
            )
            os.close(orders)
            os.close(tell)

            def wait() -> None:
                if not os.read(done, 1):
                    said.seek(0)
                    raise _failure(os.fspath(library), process.wait(), said.read())

            def once(_x: Tensor) -> None:
                os.write(order, b".")
                wait()

            try:
                wait()
                yield once
            finally:
                os.close(order)
                process.wait()
                os.close(done)


def _write(path: pathlib.Path, config: Config) -> None:
    path.write_text(cfg_.dumps(config), encoding="utf-8", errors="surrogateescape")


def _of_heads(network: Network) -> dict[str, object]:
    """What the boxes are asked for with."""
    if not network.heads:
        return {"classes": 0}
    last, shape = network.heads[-1], network.shape
    # Boxes shall be relative to the input. pjreddie's takes the image for letterboxed unless it has the input's
    # form; boxes of YOLOv1 are multiplied by these numbers.
    square = network.dialect is Dialect.ALEXEYAB or shape.width == shape.height
    return {
        "classes": last.classes,
        "size": (1, 1) if square else (shape.width, shape.height),
        "nms_kind": list(NMSKind).index(last.nms_options.kind),  # the order of C's NMS_KIND
        "beta_nms": last.nms_options.beta,
    }


def _start(job: pathlib.Path, library: str) -> None:
    command = [sys.executable, "-P", libdarknet_process.__file__, str(job)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    ) as process:
        said, _ = process.communicate()
    if not (job.parent / _OUTPUT).exists():  # C code ends with status 0, too, where a file is missing
        raise _failure(library, process.returncode, said)


def _failure(library: str, status: int, said: bytes) -> DarknetError:
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    return DarknetError(f"{library}: ended with status {status}: {' / '.join(lines[-_LINES:])}")


class C(ExternalBackend):
    """A network of this package's reading that a C library runs."""

    def __init__(self, text: str) -> None:
        named = _LIBRARY.fullmatch(text)
        self.library, model = named.groups() if named else (installed(), text)
        super().__init__(model)
        self.dialect = dialect(self.library)

    def __str__(self) -> str:
        """Files and library."""
        return f"{files(self.model)} ({self.library}, {self.dialect})"

    def load(self, size: Size | None, dialect: Dialect | None) -> None:
        """Read the cfg by the library's rules."""
        super().load(size, self.dialect)

    def run(self, x: Tensor, threshold: float, nms: float, guide: Network | None) -> BackendOutput:
        """Every layer's output and the library's own boxes."""
        return BackendOutput(*run(self.library, self.loaded, self.weights, x, threshold, nms))
