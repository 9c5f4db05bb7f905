"""Receptive fields: the figures of the YOLOv4 paper, and the pixels that have a gradient."""

from __future__ import annotations

import pytest
import torch

from darknet_py import cfg
from darknet_py.layers._parameters import parameter
from darknet_py.network import Network
from tests.helpers import paths

NET = "[net]\nwidth=64\nheight=64\nchannels=1\n"
CONV = "[convolutional]\nfilters=2\nsize={}\nstride={}\npad=1\n"


@pytest.mark.parametrize(("name", "pixels"), [("cspresnext50", 425), ("cspdarknet53", 725)])
def test_backbones_have_the_fields_of_the_papers_table(name: str, pixels: int) -> None:
    fields = Network(cfg.load(paths.ROOT / "cfgs" / f"{name}.cfg")).receptive_fields
    assert max(fields) == (pixels, pixels)  # arXiv:2004.10934, table 1; the rest of a classifier sees the whole image
    assert fields[-1] == (256, 256)


@pytest.mark.parametrize(
    ("layers", "height", "width"),
    [
        (CONV.format(3, 1) + CONV.format(5, 2) + CONV.format(3, 1), 11, 11),
        (CONV.format(3, 1) + "dilation=2\n" + CONV.format(3, 1), 7, 7),
        (CONV.format(3, 2) + "stride_y=1\n" + CONV.format(3, 1), 5, 7),
        (CONV.format(3, 2) + "antialiasing=1\n" + CONV.format(3, 1), 9, 9),
        (CONV.format(3, 2) + "antialiasing=2\n" + CONV.format(3, 1), 8, 8),
        (CONV.format(3, 1) + "[maxpool]\nsize=2\nstride=2\n" + CONV.format(3, 1), 8, 8),
        (CONV.format(3, 1) + "[maxpool]\nmaxpool_depth=1\nstride=2\n", 3, 3),
        ("[local_avgpool]\nsize=3\nstride=2\n" + CONV.format(3, 1), 7, 7),
        ("[local]\nfilters=2\nsize=3\nstride=2\n" + CONV.format(3, 1), 7, 7),
        ("[depthwise]\nfilters=2\nsize=3\nstride=2\npad=1\n" + CONV.format(3, 1), 7, 7),
        (CONV.format(3, 2) + "[upsample]\nstride=2\n" + CONV.format(3, 1), 5, 5),
        (CONV.format(3, 2) + "[upsample]\nstride=-2\n" + CONV.format(3, 1), 13, 13),
        ("[deconvolutional]\nfilters=2\nsize=4\nstride=2\npad=1\n" + CONV.format(1, 1), 2, 2),
        ("[reorg3d]\nstride=2\n" + CONV.format(3, 1), 6, 6),
        (CONV.format(3, 1) + CONV.format(7, 1) + "[shortcut]\nfrom=-2\nactivation=linear\n", 9, 9),
        (CONV.format(7, 1) + CONV.format(3, 1) + "[route]\nlayers=-1,-2\n", 9, 9),
        (CONV.format(3, 1) + "[se]\nreduction=1\n", 64, 64),
        (CONV.format(3, 1) + "[avgpool]\n[scale_channels]\nfrom=-2\n", 64, 64),
        (CONV.format(3, 1) + "[connected]\noutput=3\nactivation=linear\n", 64, 64),
    ],
)
def test_pixels_with_a_gradient_are_those_of_the_field(layers: str, height: int, width: int) -> None:
    network = Network(cfg.loads(NET + layers))
    for tensor in network.parameters():
        tensor.data.fill_(0.1)
    torch.manual_seed(0)
    x = parameter(1, 1, 64, 64)
    x.data.uniform_(0.5, 1)
    (y,) = network(x)
    extents = []
    middle, column = y.shape[2] // 2, y.shape[3] // 2
    for row in range(middle, min(middle + 2, y.shape[2])):  # behind [upsample] and the like, cells differ
        (gradient,) = torch.autograd.grad(y[:, :, row, column].sum(), x, retain_graph=True)
        seen = gradient[0, 0] != 0
        extents.append((int(seen.any(dim=1).sum()), int(seen.any(dim=0).sum())))
    if "maxpool]\nsize" in layers:  # one pixel of each window only
        assert all(rows <= height and columns <= width for rows, columns in extents)
    else:
        assert max(rows for rows, _ in extents) == height
        assert max(columns for _, columns in extents) == width
    assert network.receptive_fields[-1] == (height, width)


def test_the_table_shows_them_where_the_cfg_or_the_caller_asks() -> None:
    text = NET + CONV.format(3, 1) + "[shortcut]\nfrom=-1\nactivation=linear\n"
    plain = Network(cfg.loads(text))
    assert "receptive" not in str(plain)
    asked = Network(cfg.loads(text.replace("channels=1\n", "channels=1\nshow_receptive_field=1\n")))
    assert str(asked) == plain.table(receptive_field=True)
    assert str(asked).splitlines()[1].endswith("  3x3")
