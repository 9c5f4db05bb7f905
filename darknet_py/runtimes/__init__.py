"""Files of other programs' formats in their runtimes: ONNX Runtime, OpenVINO, torch.export, ncnn, LiteRT, Core ML."""

from __future__ import annotations

import pathlib

from .._typing import StrPath

SUFFIXES = (".onnx", ".xml", ".pt2", ".param", ".tflite", ".mlpackage")


def is_model_file(path: StrPath) -> bool:
    """Whether a path has the suffix of an exported file or folder, see ``SUFFIXES``; .param: ``.ncnn.param``."""
    return pathlib.Path(path).suffix.lower() in SUFFIXES
