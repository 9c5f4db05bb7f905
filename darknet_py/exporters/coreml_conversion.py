"""Networks as ML programs of Core ML (.mlpackage), converted by coremltools from ``torch.export``."""

from __future__ import annotations

import json
import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import DarknetError
from ..network import Network
from ..postprocess import Heads
from ..runtimes.model import Array
from .converter_process import PROGRAM, Converter, converting, run_module

COREMLTOOLS = Converter("coremltools", "Core ML", "coreml")
NOT_RUN = "PyTorch, operation by operation (not run by Core ML, which needs macOS)"
_PACKAGE = "network.mlpackage"


def write_coreml(network: Network, path: pathlib.Path, heads: Heads, options: Mapping[str, Any]) -> None:
    """Write the folder PATH (.mlpackage) with its metadata.

    Args:
        network: A stateless network.
        path: The folder.
        heads: What it returns: ``raw`` or ``boxes``.
        options: Those of ``metadata.describe``, and ``dynamic``, which has to be False.

    Raises:
        DarknetError: coremltools is not installed, or cannot convert the network.
    """
    if options["dynamic"]:
        raise DarknetError(f"{path.name}: Core ML files are of fixed size: expected no dynamic")
    with converting(COREMLTOOLS, network, path, heads, options) as (folder, module, entries):
        description = {"outputs": module.output_names, "fp16": options["fp16"], "metadata": entries}
        (folder / "description.json").write_text(json.dumps(description), encoding="utf-8")
        run_module("coreml_process", ["convert", PROGRAM, _PACKAGE, "description.json"], folder)
        shutil.copytree(folder / _PACKAGE, path)


def replace_package(source: pathlib.Path, target: pathlib.Path) -> None:
    """Move a complete package, from a folder beside it, to ``target``, where an older one is removed.

    Raises:
        DarknetError: ``target`` is something else than a package.
        OSError: It cannot be replaced.
    """
    if not target.exists():
        source.rename(target)
        return
    if not (target / "Manifest.json").is_file():
        raise DarknetError(f"{target}: exists and is no package of Core ML: expected another name")
    old = source.with_name("old")
    target.rename(old)
    try:
        source.rename(target)
    except OSError:
        old.rename(target)
        raise


def evaluate_package(path: pathlib.Path, arrays: list[Array]) -> list[Array]:
    """Compute the outputs of a package from its ML program, see ``mil_evaluation``. Raises DarknetError."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        np.savez(folder / "inputs.npz", input=arrays[0])
        run_module("coreml_process", ["evaluate", str(path.resolve()), "inputs.npz", "outputs.npz"], folder)
        with np.load(folder / "outputs.npz") as outputs:
            return [outputs[key] for key in outputs.files]
