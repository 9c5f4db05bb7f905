"""Files of other programs' formats, run by their runtimes: ONNX Runtime, OpenVINO, torch.export and ncnn."""

from __future__ import annotations

import pathlib

from .._typing import StrPath

SUFFIXES = (".onnx", ".xml", ".pt2", ".param")


def is_model_file(path: StrPath) -> bool:
    """Whether a path has the suffix of an exported file: .onnx, .xml, .pt2 or .param (``.ncnn.param``)."""
    return pathlib.Path(path).suffix.lower() in SUFFIXES
