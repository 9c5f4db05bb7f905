"""Networks as files of LiteRT (TensorFlow Lite), converted by litert-torch from ``torch.export``."""

from __future__ import annotations

import json
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

from ..errors import DarknetError
from ..network import Network
from ..postprocess import Heads
from ..runtimes.litert_models import LAYOUT, METADATA
from .converter_process import PROGRAM, Converter, converting, run_module

LITERT_TORCH = Converter("litert-torch", "LiteRT", "tflite")


def write_tflite(network: Network, path: pathlib.Path, heads: Heads, options: Mapping[str, Any]) -> None:
    """Write PATH (.tflite) with its metadata, see ``runtimes.litert_models``.

    Args:
        network: A stateless network.
        path: The file.
        heads: What the file returns: ``raw`` or ``boxes``.
        options: Those of ``metadata.describe``, and ``dynamic``, which has to be False.

    Raises:
        DarknetError: litert-torch is not installed, or cannot convert the network.
    """
    if options["fp16"] or options["dynamic"]:
        raise DarknetError(f"{path.name}: LiteRT files are float32 and of fixed size: expected no fp16 and no dynamic")
    with converting(LITERT_TORCH, network, path, heads, options) as (folder, module, entries):
        run_module("litert_process", [PROGRAM, "network.tflite", *module.output_names], folder)
        path.write_bytes((folder / "network.tflite").read_bytes())
    if module.takes_images:
        entries |= LAYOUT | {"input": f"{entries['input']}, channels last".replace("RGB planes", "RGB")}
    with zipfile.ZipFile(path, "a") as archive:  # as TFLite's associated files: behind the model, which ends before
        archive.writestr(METADATA, json.dumps(entries))
