"""Networks as files of LiteRT (TensorFlow Lite), converted by litert-torch from ``torch.export``."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import tempfile
import zipfile
from collections.abc import Mapping
from typing import Any

from ..errors import DarknetError
from ..messages import get_logger
from ..network import Network
from ..postprocess import Heads
from ..runtimes.litert_models import LAYOUT, METADATA
from . import metadata
from .converter_process import PROGRAM, run_module, save_program

_PIP = "pip install 'darknet-torch[tflite]'"
_log = get_logger(__name__)


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
    if importlib.util.find_spec("litert_torch") is None:
        raise DarknetError(f"export to LiteRT needs the package litert-torch: {_PIP}")
    if options["fp16"] or options["dynamic"]:
        raise DarknetError(f"{path.name}: LiteRT files are float32 and of fixed size: expected no fp16 and no dynamic")
    described = {key: options[key] for key in ("names", "letterbox", "threshold", "nms", "fp16")}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            module = save_program(network, heads, options["threshold"], folder)
            _log.info("converting with litert-torch, which takes a minute or more")
            run_module("litert_process", [PROGRAM, "network.tflite", *module.output_names], folder)
        except DarknetError as error:
            raise DarknetError(f"{path.name}: LiteRT: {error}") from error
        path.write_bytes((folder / "network.tflite").read_bytes())
    entries = metadata.describe(network, heads=heads, outputs=module.output_names, **described)
    if module.takes_images:
        entries |= LAYOUT | {"input": f"{entries['input']}, channels last".replace("RGB planes", "RGB")}
    with zipfile.ZipFile(path, "a") as archive:  # as TFLite's associated files: behind the model, which ends before
        archive.writestr(METADATA, json.dumps(entries))
