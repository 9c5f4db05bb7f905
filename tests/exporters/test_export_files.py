"""Exported files are written completely or not at all."""

from __future__ import annotations

import importlib.util
import os
import pathlib

import pytest

from darknet_py.errors import DarknetError
from darknet_py.exporters.exporter import export
from tests.helpers.export_networks import detector
from tests.helpers.full_disk import full_disk


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".xml"])
def test_a_full_disk_is_one_sentence_and_leaves_no_file(suffix: str, tmp_path: pathlib.Path) -> None:
    if suffix == ".xml" and importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    network = detector()
    with full_disk(100), pytest.raises(DarknetError, match="File too large"):
        export(network, tmp_path / f"a{suffix}")
    assert os.listdir(tmp_path) == []


def test_an_exported_file_is_written_through_a_link(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.onnx").symlink_to("b.onnx")
    export(detector(), tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["a.onnx", "b.onnx"]
