"""Reads of a .weights file that return less than they are asked for."""

from __future__ import annotations

import io
import os
import pathlib
import threading
from typing import Any

import pytest
import torch

from darknet_py import weights
from darknet_py.errors import WeightsError
from darknet_py.weights import binary, darknet_file
from tests.helpers import random_networks
from tests.helpers.random_networks import FLOATS, TEXT, nan_network, weights_file

LARGE = "[net]\nwidth=4\nheight=4\nchannels=64\n[conv]\nfilters=64\nsize=3\npad=1\n[conv]\nfilters=64\nsize=3\npad=1\n"


class SlowFile(io.RawIOBase):
    """A file whose reads return 3 bytes at most, as a pipe or a network file system may do."""

    def __init__(self, content: bytes) -> None:
        self.content = io.BytesIO(content)

    def readinto(self, buffer: Any) -> int:
        return self.content.readinto(buffer[:3])


def test_short_reads_are_continued() -> None:
    assert binary.read_exactly(SlowFile(b"0123456789"), 8) == b"01234567"  # type: ignore[arg-type]
    assert binary.read_exactly(SlowFile(b"0123456789"), 80) == b"0123456789"  # type: ignore[arg-type]


def feed(path: pathlib.Path, content: bytes) -> threading.Thread:
    """Write to a pipe in pieces of 7 bytes, in a thread."""

    def write() -> None:
        file = os.open(path, os.O_WRONLY)
        try:
            for start in range(0, len(content), 7):
                os.write(file, content[start : start + 7])
        except BrokenPipeError:
            pass
        finally:
            os.close(file)

    os.mkfifo(path)
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_weights_are_read_from_a_pipe(tmp_path: pathlib.Path) -> None:
    content = weights_file(tmp_path / "a.weights", FLOATS).read_bytes()
    thread = feed(tmp_path / "whole", content)
    loaded = weights.load(nan_network(TEXT), tmp_path / "whole")
    thread.join(10)
    expected = weights.load(nan_network(TEXT), tmp_path / "a.weights")
    for name, tensor in expected.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    for name, data, message in (
        ("short", content[:-1], r"ends in layer 3 \[connected\] rolling_variance: expected 8 bytes, found 7"),
        ("long", content + b"1234", "expected at most 288 bytes, found more"),
    ):
        thread = feed(tmp_path / name, data)
        with pytest.raises(WeightsError, match=message):
            weights.load(nan_network(TEXT), tmp_path / name)
        thread.join(10)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.weights"
    weights.save(random_networks.network(LARGE), path)
    size = 20 + 4 * 2 * (64 + 64 * 64 * 9)

    def shrink(*args: Any) -> tuple[weights.Header, int]:
        os.truncate(path, size - 30000)
        return weights.read_header(*args)

    monkeypatch.setattr(darknet_file, "read_header", shrink)
    assert path.stat().st_size == size
    with pytest.raises(WeightsError, match=r"became shorter while it was read: ends in layer 1 \[conv\] weights"):
        weights.load(nan_network(LARGE), path)
