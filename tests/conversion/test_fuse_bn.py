"""Fused batch norm: the same outputs from a cfg without batch norm."""

from __future__ import annotations

import pathlib

import pytest
import torch

import darknet_py
from darknet_py.conversion.checkpoints import convert
from darknet_py.conversion.fuse_bn import fuse_batch_norm
from darknet_py.network import Network
from tests.helpers import random_networks
from tests.helpers.weights_files import HEAD


def test_convert_with_fuse_bn_keeps_the_outputs(head: Network) -> None:
    net = convert("a.weights", "b.weights", cfg="head.cfg", fuse_bn=True, write_cfg="b.cfg")
    text = pathlib.Path("b.cfg").read_text()
    assert text == HEAD.replace("batch_normalize=1\n", "")
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(darknet_py.load("b.cfg", "b.weights")(x), head(x), rtol=1e-4, atol=1e-5)
    assert (net.seen, net.shape) == (head.seen, head.shape)
    assert pathlib.Path("b.weights").stat().st_size < pathlib.Path("a.weights").stat().st_size


@pytest.mark.parametrize(
    "section",
    [
        "[connected]\noutput=5\nbatch_normalize=1",
        "[deconvolutional]\nfilters=5\nsize=3\nstride=2\nbatch_normalize=1\nactivation=leaky",
        "[batchnorm]",
        "[crnn]\noutput=5\nhidden=4\npad=1\nbatch_normalize=1",
        "[conv]\nfilters=2\nsize=3\nstride=1\nactivation=leaky\ncbn=1\n[conv]\nfilters=2\nsize=2\nxnor=1\nbatch_normalize=1",
    ],
)
def test_batch_norm_of_every_layer_is_fused(section: str) -> None:
    net = random_networks.network(f"[net]\nwidth=6\nheight=6\nchannels=2\n{section}\n", size=(8, 7))
    fused = fuse_batch_norm(net)
    assert fused.shape == (2, 7, 8)
    x = torch.rand(2, 2, 7, 8)
    torch.testing.assert_close(fused(x), net(x), rtol=1e-4, atol=1e-5)
    assert ("norm" in str(list(fused.state_dict()))) == (section == "[batchnorm]")
