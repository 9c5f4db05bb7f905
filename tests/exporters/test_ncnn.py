"""Networks that pnnx converts wrongly from ONNX as it comes; ``write_ncnn`` rewrites the nodes in question."""

from __future__ import annotations

import pathlib

import pytest

import darknet_py
from darknet_py.errors import DarknetError
from darknet_py.exporters import ncnn_conversion
from tests.helpers import random_networks

pytest.importorskip("ncnn", reason="the extra ncnn is not installed")
pytest.importorskip("pnnx", reason="the extra ncnn is not installed")


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_ncnn_pads_pooling_once(size: int, stride: int, tmp_path: pathlib.Path) -> None:
    """Darknet's padding of a pooling is one cell more after the values than before them, or less."""
    net = random_networks.network(
        f"[net]\nwidth=10\nheight=9\nchannels=3\n[maxpool]\nsize={size}\nstride={stride}\n[convolutional]\nfilters=2\n"
    )
    assert darknet_py.export(net, tmp_path / "a.ncnn.param").relative_rms < 1e-6


# The softmax over two channels weights one map: nodes ReduceMax, ReduceSum and Split; then a maximum over channels.
GATED = """
[net]
width=8
height=8
channels=3
[convolutional]
filters=4
[convolutional]
filters=3
activation=normalize_channels_softmax
[route]
layers=1
groups=3
group_id=1
[scale_channels]
from=0
scale_wh=1
[maxpool]
maxpool_depth=1
out_channels=2
"""


def test_ncnn_reduces_and_splits_channels(tmp_path: pathlib.Path) -> None:
    result = darknet_py.export(random_networks.network(GATED), tmp_path / "a.ncnn.param")
    assert result.relative_rms < 1e-5


def test_a_file_that_ends_the_process_of_ncnn_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ncnn_conversion, "_give_sizes_of_splits", lambda _: None)
    with pytest.raises(DarknetError, match=r"ncnn cannot run the network: its process was ended by SIG"):
        darknet_py.export(random_networks.network(GATED), tmp_path / "a.ncnn.param")
    assert not list(tmp_path.iterdir())


REORG = "[reorg]\nstride=2\n[convolutional]\nfilters=2\n"
# As in pjreddie's ResNeXt-50: the source has four times the cells, and fewer channels.
STEPS = "[convolutional]\nfilters=6\nsize=3\npad=1\nstride=2\n[shortcut]\nfrom=-2\n"


@pytest.mark.parametrize("sections", [REORG, STEPS])
@pytest.mark.parametrize("size", ["width=8\nheight=8", "width=12\nheight=8"])
def test_ncnn_takes_every_second_cell(sections: str, size: str, tmp_path: pathlib.Path) -> None:
    """It has neither slices with steps nor transpositions of six dimensions."""
    net = random_networks.network(f"[net]\n{size}\nchannels=3\n[convolutional]\nfilters=4\n{sections}")
    assert darknet_py.export(net, tmp_path / "a.ncnn.param").relative_rms < 1e-6
