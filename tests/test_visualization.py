"""Sheets: filters have the values of the weights, feature maps those of the layer, each channel in its place."""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import pytest
import torch

import darknet_py as dk
from darknet_py import visualization
from darknet_py.cli import main
from darknet_py.errors import DarknetError
from darknet_py.images.reading import ImageArray, read_image
from darknet_py.images.resizing import prepare_input
from darknet_py.network import Network
from darknet_py.visualization import visualize
from tests.helpers import paths, random_networks

CFG, WEIGHTS = (str(paths.ROOT / "cfgs" / f"digits.{suffix}") for suffix in ("cfg", "weights"))
TOP, LEFT = visualization._GAP + visualization._TITLE, visualization._GAP  # of the first tile
ROW = visualization._GAP + visualization._CAPTION  # pixels between two rows of feature maps


@pytest.fixture
def net() -> Network:
    return dk.load(CFG, WEIGHTS)


@pytest.fixture
def image() -> ImageArray:
    return np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)


def tile(sheet: ImageArray, row: int, column: int, size: int, step: int, between_rows: int) -> ImageArray:
    """A tile of ``size`` pixels, one of every ``step`` pixels."""
    top, left = TOP + row * (size + between_rows), LEFT + column * (size + visualization._GAP)
    return sheet[top : top + size : step, left : left + size : step]


def test_filters_of_three_channels_are_in_colour_on_one_scale(net: Network) -> None:
    (sheet,) = visualize(net).values()
    weights = net.state_dict()["layers.0.weights"]
    low, high = weights.min(), weights.max()
    expected = (255 * (weights - low) / (high - low)).permute(0, 2, 3, 1).numpy()
    for number, row, column in ((0, 0, 0), (5, 0, 5), (8, 1, 0), (15, 1, 7)):
        top, left = TOP + row * (3 * 16 + 4), LEFT + column * (3 * 16 + 4)
        drawn = sheet[top : top + 48 : 16, left : left + 48 : 16].astype(float)
        assert np.abs(drawn - expected[number]).max() <= 0.5001
    assert {int(sheet[TOP:, LEFT : LEFT + 8 * 52].min()), int(low < 0 < high)} == {0, 1}


def test_a_row_has_the_channels_of_a_filter(net: Network) -> None:
    sheets = visualize(net, layers=[1, -2], max_channels=5)
    assert list(sheets) == [1, 27]
    weights = net.state_dict()["layers.1.weights"][:5, :5]  # 3 x 3
    assert weights.shape[2:] == (3, 3)
    scaled = (255 * (weights - weights.min()) / (weights.max() - weights.min())).numpy()
    drawn = sheets[1][TOP + 2 * 52 : TOP + 2 * 52 + 48 : 16, LEFT + 4 * 52 : LEFT + 4 * 52 + 48 : 16]
    assert np.abs(drawn[:, :, 0] - scaled[2, 4]).max() <= 0.5001
    assert (drawn[:, :, :1] == drawn).all()


def test_feature_maps_are_those_of_the_layer_highest_mean_first(net: Network, image: ImageArray) -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="the colours are matplotlib's")
    seen: list[torch.Tensor] = []
    hook = net[3].register_forward_hook(lambda _layer, _inputs, output: seen.append(output[0]))
    with torch.inference_mode():
        net.eval()(prepare_input(image, (96, 96))[None])
    hook.remove()
    net.train()
    maps = seen[0].numpy()
    sheets = visualize(net, image, [3])
    assert net.training
    low, high = np.percentile(maps, (1, 99))
    order = np.argsort(-maps.mean(axis=(1, 2)))
    for place in (0, 7, 8, 15):
        drawn = tile(sheets[3], place // 8, place % 8, 144, 6, ROW).astype(float)
        scaled = np.clip((maps[order[place]] - low) / (high - low), 0, 1)
        expected = 255 * matplotlib.colormaps["inferno"](scaled)[:, :, :3]
        assert np.abs(drawn - expected).max() < 8  # two steps of the table
    by_index = visualize(net, image, [3], order="index", max_channels=8)[3]
    assert (tile(by_index, 0, int(order[0]) % 8, 144, 1, ROW) == tile(sheets[3], 0, 0, 144, 1, ROW)).all() == (
        order[0] < 8
    )
    assert by_index.shape[0] == sheets[3].shape[0] - 144 - ROW


def test_the_default_layers_are_the_last_of_each_resolution(net: Network, image: ImageArray) -> None:
    pytest.importorskip("matplotlib", reason="the colours are matplotlib's")
    assert list(visualize(net, image)) == [info.layer for info in dk.Backbone(net).feature_info]


def test_nan_is_shown_and_counted_and_maps_may_be_vectors() -> None:
    pytest.importorskip("matplotlib", reason="the colours are matplotlib's")
    network = random_networks.network(random_networks.TEXT)
    image = np.zeros((4, 4, 1), np.uint8)
    assert visualize(network, image, [3])[3].shape[0] == TOP + LEFT + 160 + ROW  # of a fully connected layer
    with torch.no_grad():
        network.state_dict()["layers.2.biases"][1] = float("nan")
    sheet = visualize(network, image, [2], order="index")[2]
    is_green = (sheet == visualization._NOT_FINITE).all(axis=2)
    assert is_green.sum() == 160 * 160
    assert is_green[TOP : TOP + 160, LEFT + 166 : LEFT + 326].all()


def test_layers_that_cannot_be_drawn_are_refused(
    net: Network, image: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        DarknetError, match=r"^layer 2 \[route\]: expected a convolution with filters of its own: \[0, 1"
    ):
        visualize(net, layers=[0, 2])
    with pytest.raises(DarknetError, match=r"^layers: expected numbers in 0\.\.28, got 29$"):
        visualize(net, image, [29])
    with pytest.raises(DarknetError, match=r"^max_channels: expected 1 or more, got 0$"):
        visualize(net, max_channels=0)
    empty = random_networks.network("[net]\nwidth=4\nheight=4\nchannels=1\n[maxpool]\nsize=2\n")
    with pytest.raises(DarknetError, match="none can be chosen"):
        visualize(empty)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert visualize(net)  # grey needs no colour map
    with pytest.raises(DarknetError, match="pip install"):
        visualize(net, image, [0])


def test_the_command_numbers_its_sheets_and_writes_over_no_input(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="the colours are matplotlib's")
    monkeypatch.chdir(tmp_path)
    assert main(["digits", "set", "--train-images", "1", "--valid-images", "1", "--quiet"]) == 0
    photo = pathlib.Path("set/valid/00000.png").rename("m_3.png")
    content = photo.read_bytes()
    for line, names in (
        ("", ["visualized.png"]),
        ("m_3.png --layer 3,-1 -o a.png", ["a_3.png", "a_28.png"]),
        ("m_3.png --layer 0,2 --filters -o b.jpg", ["b_0.jpg", "b_2.jpg", "b_filters.jpg"]),
        ("--layer 0,1 --max-channels 4 -o c.png", ["c_0.png", "c_1.png"]),
    ):
        capsys.readouterr()
        assert main(["visualize", CFG, WEIGHTS, *line.split()]) == 0
        assert capsys.readouterr().out.splitlines() == [f"{name}: written" for name in names]
        assert all(read_image(name).shape[2] == 3 for name in names)
    for line, message in (
        ("m_3.png --layer 3,4 -o m.png", "m_3.png"),  # the name of a sheet is that of the image
        ("m_3.png set/train/00000.png", "expected one image, found 2"),
        ("m_3.png --layer 1;2", "--layer: expected numbers such as 0,16,24, or all, got '1;2'"),
        ("m_3.png -o a.gif", "expected an image as .png, .jpg, .jpeg, got .gif"),
    ):
        assert main(["visualize", CFG, WEIGHTS, *line.split()]) == 1
        assert message in capsys.readouterr().err
    assert photo.read_bytes() == content
    assert main(["visualize", CFG, WEIGHTS, "--layer", "all", "-o", "all.png", "--max-channels", "2"]) == 0
    assert len(list(tmp_path.glob("all_*.png"))) == 16
