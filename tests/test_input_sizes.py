"""Maps of unequal size that a route flattens: which layers read the vector, and which sizes of the input are named."""

from __future__ import annotations

import pathlib
import re

import pytest
import torch

import darknet_py as dk
from darknet_py import cfg
from darknet_py.errors import ConfigError
from darknet_py.network import Network
from darknet_py.training.resume import build_network
from tests.helpers import synthetic_data

# Two maps, of 1/2 and 1/4 of the input; the smaller one is upsampled.
TEXT = """[net]
width={width}
height={height}
channels=1
{more}
[maxpool]
size=2
stride=2
padding=0
[maxpool]
size=2
stride=2
padding=0
[upsample]
[route]
layers=-1,0
"""
HEAD = "[convolutional]\nfilters=6\n[yolo]\nclasses=1\nnum=1\nanchors=4,4\n"
# From the C sources: parse_connected, parse_dropout, ... take params.inputs; "must output image" in the others.
READS_VECTORS: tuple[str, ...] = (
    "connected]\noutput=2",
    "dropout",
    "softmax",
    "cost",
    "activation",
    "logistic",
    "empty",
    "implicit",
)
READS_VECTORS += (
    "gru]\noutput=2",
    "lstm]\noutput=2",
    "rnn]\noutput=2",
    "route]\nlayers=-1",
    "detection]\nside=1\nclasses=36\ncoords=4",
)
READS_MAPS: tuple[str, ...] = (
    "convolutional",
    "maxpool",
    "avgpool",
    "local_avgpool",
    "upsample",
    "reorg",
    "reorg3d",
    "crop",
    "batchnorm",
)
READS_MAPS += ("shortcut]\nfrom=-2", "local", "deconvolutional", "normalization", "yolo]\nnum=1\nclasses=1", "l2norm")
READS_MAPS += (
    "sam]\nfrom=-2",
    "scale_channels]\nfrom=-2",
    "crnn",
    "conv_lstm",
    "history",
    "iseg",
    "region]\nclasses=1",
)


def network(width: int, height: int, *, more: str = "", tail: str = HEAD, **options: object) -> Network:
    text = TEXT.format(width=width, height=height, more=more) + tail
    return Network(cfg.loads(text, "x.cfg"), **options)  # type: ignore[arg-type]


def message(joined: str, sizes: str) -> str:
    return re.escape(
        f"x.cfg:17: layer 4 [convolutional] expected a map, got the vector of layer 3 [route], which joins {joined}; "
        f"the nearest input sizes (width x height) that fit: {sizes}"
    )


def test_a_convolution_refuses_a_flattened_route_and_names_sizes_that_fit() -> None:
    with pytest.raises(ConfigError, match=message("8 x 6 x 1 (layer 2), 9 x 6 x 1 (layer 0)", "16 x 8 and 24 x 16")):
        network(18, 12)
    with pytest.raises(ConfigError, match=r"the nearest input sizes .* that fit: 16 x 8 and 24 x 16"):
        network(24, 16, size=(18, 12))
    assert network(16, 8).shape == (1, 8, 16)


@pytest.mark.parametrize("section", READS_VECTORS)
def test_layers_that_c_lets_read_a_vector_accept_it(section: str) -> None:
    net = network(10, 10, tail=f"[{section}\n" if "]" in section else f"[{section}]\n").initialise()
    (output,) = net(torch.rand(2, 1, 10, 10))
    assert output.shape == (2, *net[-1].shape)


@pytest.mark.parametrize("section", READS_MAPS)
def test_layers_that_need_a_map_refuse_it(section: str) -> None:
    with pytest.raises(ConfigError, match=r"layer 4 \[\w+\] expected a map, got the vector of layer 3 \[route\]"):
        network(10, 10, tail=f"[{section}\n" if "]" in section else f"[{section}]\n")


def test_a_vector_stays_one_behind_layers_that_keep_its_shape() -> None:
    with pytest.raises(ConfigError, match=r"layer 6 \[convolutional\] .* layer 5 \[route\]"):
        network(10, 10, tail="[dropout]\n[route]\nlayers=-1,0\n[convolutional]\n")


def test_a_tensor_of_a_size_that_does_not_fit_is_refused() -> None:
    net = network(16, 16).initialise()
    assert net(torch.rand(1, 1, 24, 8))[0].shape == (1, 6, 12, 4)
    for run in (net, dk.optimise(net)):
        with pytest.raises(ConfigError, match="that fit: 16 x 8 and 24 x 16"):
            run(torch.rand(1, 1, 12, 18))


def test_training_refuses_sizes_of_random_that_do_not_fit_before_it_starts(tmp_path: pathlib.Path) -> None:
    data = synthetic_data.data(tmp_path, train=4, valid=2)
    path = tmp_path / "x.cfg"
    more = "batch=2\nmax_batches=1\nresize_step={}"
    for step in (8, 2):
        text = TEXT.format(width=32, height=32, more=more.format(step)).replace("channels=1", "channels=3")
        path.write_text(text + HEAD.replace("6", "7").replace("classes=1", "classes=2") + "random=1\n")
        trainer = dk.Trainer(build_network(path), data, dk.TrainOptions(output=tmp_path / "out", verbose=False))
        if step == 8:
            trainer.run()
        else:
            with pytest.raises(ConfigError, match="expected a map"):
                trainer.run()
