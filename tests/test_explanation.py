"""Explanations: the cells are those of the detections, and Grad-CAM is the formula of its paper."""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import pytest
import torch

import darknet_py as dk
from darknet_py.cli import main
from darknet_py.errors import DarknetError
from darknet_py.explanation import draw_explanation, explain
from darknet_py.images.reading import read_image
from darknet_py.images.resizing import prepare_input
from darknet_py.network import Network
from darknet_py.postprocess import decode_dense
from tests.helpers import paths, random_networks

CFG, WEIGHTS, NAMES = (str(paths.ROOT / "cfgs" / f"digits.{suffix}") for suffix in ("cfg", "weights", "names"))


@pytest.fixture
def image(tmp_path: pathlib.Path) -> pathlib.Path:
    assert main(["digits", str(tmp_path / "set"), "--train-images", "1", "--valid-images", "1", "--quiet"]) == 0
    return tmp_path / "set" / "valid" / "00000.png"


@pytest.fixture
def net() -> Network:
    return dk.load(CFG, WEIGHTS)


def test_the_cells_of_detections_have_their_scores(net: Network, image: pathlib.Path) -> None:
    pixels = read_image(image)
    maps = torch.stack([head.confidence for head in explain(net, pixels)]).amax(dim=0)
    boxes = dk.Detector(net)(image).boxes
    for (x1, y1, x2, y2), score in zip(boxes.xyxy.tolist(), boxes.conf.tolist(), strict=True):
        column, row = int((x1 + x2) / 2), int((y1 + y2) / 2)
        assert float(maps[row, column]) == pytest.approx(score, abs=1e-5)
    assert float((maps > 0.25).float().mean()) < 0.2


def test_grad_cam_is_the_formula(net: Network, image: pathlib.Path) -> None:
    pixels = read_image(image)
    explained = explain(net, pixels, cls="six", names=pathlib.Path(NAMES).read_text().split())[0]
    seen: list[torch.Tensor] = []
    hook = net[19].register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    outputs = net(prepare_input(pixels, (96, 96))[None])
    hook.remove()
    score = decode_dense(net, outputs, (96, 96))[0][1][0, :, 6].max()
    (gradient,) = torch.autograd.grad(score, seen[0])
    cam = torch.einsum("c,chw->hw", gradient[0].mean(dim=(1, 2)), seen[0][0]).relu()
    cam = torch.nn.functional.interpolate((cam / cam.max())[None, None], (96, 96), mode="bilinear")[0, 0]
    assert (explained.layer, explained.cls) == (21, 6)
    assert explained.score == pytest.approx(score.item())
    torch.testing.assert_close(explained.cam, cam, rtol=1e-4, atol=1e-5)


def test_the_network_stays_as_it_was_whatever_its_state(net: Network, image: pathlib.Path) -> None:
    pixels = read_image(image)
    expected = explain(net, pixels)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net.requires_grad_(False).train()
    with torch.inference_mode():
        again = explain(net, pixels)
    assert net.training
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    for one, other in zip(expected, again, strict=True):
        torch.testing.assert_close(one.cam, other.cam)


def test_the_padding_of_a_letterbox_is_cut_off(net: Network, image: pathlib.Path) -> None:
    wide = np.tile(read_image(image), (1, 3, 1))
    for head in explain(net, wide, letterbox=True):
        assert head.cam.shape == head.confidence.shape == (96, 288)


def test_region_heads_and_errors(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.zeros((40, 30, 3), dtype=np.uint8)
    text = "[net]\nwidth=32\nheight=32\nchannels=3\n[conv]\nfilters=8\nsize=3\npad=1\n[conv]\nfilters=14\n"
    region = random_networks.network(text + "[region]\nclasses=2\nnum=2\ncoords=4\nsoftmax=1\nanchors=1,1,2,2\n")
    (head,) = explain(region, pixels, cls=1)
    assert head.confidence.shape == (40, 30)
    with pytest.raises(DarknetError, match="no detection head"):
        explain(random_networks.network(text), pixels)
    with pytest.raises(DarknetError, match=r"expected an image as \.png, \.jpg, \.pdf, \.svg, got \.gif"):
        draw_explanation(pixels, [head], tmp_path / "a.gif")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DarknetError, match="pip install"):
        draw_explanation(pixels, [head], tmp_path / "a.png")


def test_the_command_writes_a_sheet_and_no_input(
    image: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    content = image.read_bytes()
    sheet = tmp_path / "sheet.png"
    assert main(["explain", CFG, WEIGHTS, str(image), "-o", str(sheet), "--names", NAMES, "--class", "four"]) == 0
    assert [line.split()[:3] for line in capsys.readouterr().out.splitlines()[:2]] == [
        ["layer", "21:", "four"],
        ["layer", "28:", "four"],
    ]
    assert read_image(sheet).shape[2] == 3
    assert main(["explain", CFG, WEIGHTS, str(image), "-o", str(image)]) == 1
    assert image.read_bytes() == content
    assert main(["explain", CFG, WEIGHTS, str(image), "-o", str(sheet), "--class", "cat"]) == 1
    assert "cat" in capsys.readouterr().err
