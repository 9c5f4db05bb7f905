"""Sections of forks and of PyTorch programs against their formulas in numpy, and sections that stay refused."""

from __future__ import annotations

import pathlib
import re

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from darknet_py import cfg, loading, weights
from darknet_py.conversion.checkpoints import convert
from darknet_py.errors import ConfigError, DataError
from darknet_py.exporters.exporter import export
from darknet_py.layers import DecodeOptions
from darknet_py.network import Network
from darknet_py.training.trainer import Trainer
from tests.helpers import random_networks
from tests.helpers.random_networks import random

Array = NDArray[np.float64]

NET = "[net]\nwidth=8\nheight=6\nchannels=4\n"
OTHER_COORDS = {
    "region": "[convolutional]\nfilters=20\n[region]\nclasses=1\nnum=1\ncoords=18\n",
    "detection": "[connected]\noutput=68\n[detection]\nclasses=3\nnum=2\ncoords=6\nside=2\n",
}


def network(text: str) -> Network:
    return random_networks.network(NET + text)


def run(net: Network, x: Tensor) -> Array:
    with torch.no_grad():
        (y,) = net(x)
    return np.asarray(y.numpy(), dtype=np.float64)


def parameters(net: Network, index: int) -> list[Array]:
    return [tensor.detach().numpy().astype(np.float64) for _, tensor in net[index].stored()]


def hsigmoid(x: Array) -> Array:
    return np.asarray(np.clip(x + 3, 0, 6) / 6)


@pytest.mark.parametrize(("vector", "channels", "combine"), [("add", "shift", np.add), ("mul", "control", np.multiply)])
def test_yolors_vectors_are_combined_with_every_cell(vector: str, channels: str, combine: np.ufunc) -> None:
    implicit = f"[implicit_{vector}]\nfilters=6\n"
    net = network(f"[convolutional]\nfilters=6\n{implicit}[route]\nlayers=0\n[{channels}_channels]\nfrom=1\n")
    x = random(2, *net.shape)
    with torch.no_grad():
        y = net[0](x).numpy().astype(np.float64)
    (values,) = parameters(net, 1)
    np.testing.assert_allclose(run(net, x), combine(y, values.reshape(1, 6, 1, 1)), rtol=1e-6)


def test_yolors_vectors_start_near_0_and_1() -> None:
    net = network("[implicit_add]\nfilters=5000\n[implicit_mul]\nfilters=5000\n").initialise()
    for index, mean in enumerate((0.0, 1.0)):
        (values,) = parameters(net, index)
        assert abs(values.mean() - mean) < 0.002
        assert abs(values.std() - 0.02) < 0.002


def test_route_lhalf_concatenates_first_halves() -> None:
    net = network("[convolutional]\nfilters=6\n[route_lhalf]\nlayers=-1,-1\n")
    x = random(2, *net.shape)
    with torch.no_grad():
        half = net[0](x).numpy()[:, :3]
    np.testing.assert_array_equal(run(net, x), np.concatenate((half, half), axis=1))


@pytest.mark.parametrize(("name", "layers"), [("route2", "-1,-2"), ("route3", "-1,-2,-3")])
def test_route2_and_route3_pass_the_gradient_to_the_first_layer_only(name: str, layers: str) -> None:
    convolution = "[convolutional]\nfilters=2\n"
    net = network(f"{convolution}{convolution}{convolution}[{name}]\nlayers={layers}\n")
    x = random(1, *net.shape)
    outputs = [x]
    for layer in list(net)[:3]:
        outputs.append(layer(outputs[-1]))
    count = len(layers.split(","))
    expected = torch.cat([outputs[3 - i] for i in range(count)], dim=1)
    (y,) = net(x)
    assert torch.equal(y, expected)
    assert not y[:, 2:].detach().eq(0).all()
    (gradient,) = torch.autograd.grad(y[:, 2:].sum(), net[2].get_parameter("weights"), retain_graph=True)
    assert not gradient.any()
    assert torch.autograd.grad(y.sum(), net[2].get_parameter("weights"))[0].any()


def test_se_is_squeeze_and_excitation_with_a_hard_sigmoid() -> None:
    net = network("[se]\nreduction=2\n")
    x = random(2, *net.shape)
    squeeze, expand = parameters(net, 0)
    assert squeeze.shape == (2, 4)
    mean = x.numpy().astype(np.float64).mean(axis=(2, 3))
    gate = hsigmoid(np.maximum(mean @ squeeze.T, 0) @ expand.T)
    np.testing.assert_allclose(run(net, x), x.numpy() * gate[:, :, None, None], rtol=1e-5, atol=1e-7)


def test_depthwise_is_a_convolution_with_a_group_per_channel(tmp_path: pathlib.Path) -> None:
    keys = "filters=8\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=hswish\n"
    net = network(f"[depthwise]\n{keys}")
    other = network(f"[convolutional]\n{keys}groups=4\n")
    path = f"{tmp_path}/a.weights"
    weights.save(net, path)
    weights.load(other, path)
    x = random(2, *net.shape)
    np.testing.assert_array_equal(run(net, x), run(other, x))
    assert net.flops == other.flops


def test_yolo4_is_alexeyabs_yolo() -> None:
    text = "[convolutional]\nfilters=6\n[{}]\nclasses=1\nnum=1\nanchors=4,4\nscale_x_y=1.2\n"
    net, other = network(text.format("yolo4")), network(text.format("yolo"))
    other.load_state_dict(net.state_dict())
    x = random(1, *net.shape)
    np.testing.assert_array_equal(run(net, x), run(other, x))


@pytest.mark.parametrize("kind", OTHER_COORDS)
def test_heads_with_other_coords_give_raw_maps_and_no_boxes(kind: str, tmp_path: pathlib.Path) -> None:
    text = OTHER_COORDS[kind]
    net = network(text)
    x = random(2, *net.shape)
    (output,) = net(x)
    assert output.shape == (2, *net[1].shape)
    head = net.heads[0]
    message = rf"^\[{kind}\] coords=\d+: expected 4 values per box to decode boxes; the network returns the raw \w+$"
    with pytest.raises(DataError, match=message):
        head.decode(output, (8, 6), DecodeOptions(0.5))
    with pytest.raises(DataError, match=message):
        head.decode_all(output, (8, 6), 0.5)
    weights.save(net, f"{tmp_path}/a.weights")
    weights.load(network(text), f"{tmp_path}/a.weights")


@pytest.mark.parametrize("kind", OTHER_COORDS)
def test_training_heads_with_other_coords_is_refused(kind: str) -> None:
    trainer = Trainer(network(OTHER_COORDS[kind]))
    with pytest.raises(DataError, match=rf"^\[{kind}\] coords=\d+: expected 4 values per box to "):
        trainer.step([(torch.zeros(1, 4, 6, 8), [torch.zeros(0, 5)])])


def test_the_objectness_of_other_coords_follows_them() -> None:
    net = network("[convolutional]\nfilters=20\n[region]\nclasses=1\nnum=1\ncoords=18\n")
    x = random(1, *net.shape)
    with torch.no_grad():
        t = net[0](x).permute(0, 2, 3, 1)
        (y,) = net(x)
    cells = y.reshape(1, 6, 8, 20)
    assert torch.equal(cells[..., :18], t[..., :18])
    torch.testing.assert_close(cells[..., 18], torch.sigmoid(t[..., 18]))


@pytest.mark.parametrize("head", OTHER_COORDS)
def test_heads_with_other_coords_are_exported_and_converted_as_raw_maps(head: str, tmp_path: pathlib.Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net = network(OTHER_COORDS[head])
    export(net, tmp_path / "a.onnx", heads="raw")
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    x = random(1, *net.shape)
    (y,) = session.run([f"{head}_1"], {"input": x.numpy()})
    np.testing.assert_allclose(y.reshape(-1), run(net, x).reshape(-1), rtol=0, atol=1e-6)
    for heads in ("boxes", "nms"):
        with pytest.raises(DataError, match=rf"^heads={heads}: \[{head}\] coords=.*: expected heads=raw$"):
            export(net, tmp_path / "b.onnx", heads=heads)
    weights.save(net, tmp_path / "a.weights")
    (tmp_path / "a.cfg").write_text(NET + OTHER_COORDS[head])
    for name in ("a.safetensors", "a.pt"):
        convert(tmp_path / "a.weights", tmp_path / name, cfg=tmp_path / "a.cfg")
        np.testing.assert_array_equal(run(loading.load(tmp_path / name), x), run(net, x))


def test_scaled_yolov4s_boxes_are_those_of_new_coords() -> None:
    """YOLOR and PyTorch_YOLOv4 decode linear outputs t: centre 2 s(t) - 0.5 + cell, size anchor (2 s(t))^2."""
    head = "[yolo]\nclasses=1\nnum=1\nanchors=3,5\n"
    linear = network(f"[convolutional]\nfilters=6\nactivation=linear\n{head}")
    changed = network(f"[convolutional]\nfilters=6\nactivation=logistic\n{head}new_coords=1\nscale_x_y=2\n")
    changed.load_state_dict(linear.state_dict())
    x = random(1, *linear.shape)
    with torch.no_grad():
        t = linear[0](x)[0].permute(1, 2, 0).double().numpy()
        boxes, _ = changed.heads[0].decode_all(changed(x)[0], (8, 6))
    s = 1 / (1 + np.exp(-t))
    row, column = np.mgrid[:6, :8]
    cells = np.stack((column, row), axis=2)
    centre, size = (2 * s[..., :2] - 0.5 + cells) / (8, 6), (2 * s[..., 2:4]) ** 2 * (3 / 8, 5 / 6)
    expected = np.concatenate((centre, size), axis=2)
    np.testing.assert_allclose(boxes[0].reshape(6, 8, 4).numpy(), expected, rtol=1e-5)


def test_fusion_of_heads_is_refused_by_its_name() -> None:
    text = "[convolutional]\nfilters={}\n[yolo]\nfrom=0,0,0\nclasses=1\nnum=1\nanchors=4,4\n"
    with pytest.raises(ConfigError, match=r"\[yolo\] from= and 3 filters more .*ASFF.* is not supported$"):
        network(text.format(9))
    network(text.format(6))  # Ultralytics' code reads no other maps either unless its constant ASFF is set


@pytest.mark.parametrize(
    ("section", "origin"),
    [
        ("Focus", "a YOLOv5 conversion (enazoe/yolo-tensorrt and others): export the YOLOv5 model itself"),
        ("alternate_channels", "WongKinYiu's PyTorch code (YOLOR, PyTorch_YOLOv4)"),
    ],
)
def test_other_programs_sections_are_refused_by_their_name(section: str, origin: str) -> None:
    message = f"made.cfg:5: layer 0 [{section}] section of {origin}, which no Darknet reads"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        Network(cfg.loads(f"{NET}[{section}]\n", "made.cfg"))
