"""Checkpoints are written completely or not at all."""

from __future__ import annotations

import os
import pathlib

import pytest

import darknet_py
from darknet_py.errors import WeightsError
from tests.helpers.full_disk import full_disk


@pytest.mark.parametrize("suffix", [".weights", ".pt", ".safetensors"])
def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(suffix: str, tmp_path: pathlib.Path) -> None:
    network = darknet_py.load("digits")
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    with full_disk(10_000), pytest.raises(WeightsError, match=rf"a\{suffix}: File too large"):
        darknet_py.save(network, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]
