"""Conversion between .weights, .pt and .safetensors: round trips, contents of checkpoints, and errors."""

from __future__ import annotations

import pathlib
import pickle
import re
import tempfile

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

import darknet_py
from darknet_py import cfg, cli, loading, weights
from darknet_py.cfg import Config, Dialect
from darknet_py.conversion.checkpoints import convert
from darknet_py.errors import ConfigError, WeightsError
from darknet_py.network import Network
from darknet_py.weights import checkpoint, containers
from tests.helpers import paths, random_networks
from tests.helpers.weights_files import HEAD, plain_torch_network, save_random_weights
from tests.test_properties import configs

QUICK = ("yolov3-tiny", "yolov4-tiny")  # the other files have hundreds of megabytes


def cases() -> list[object]:
    params: list[object] = []
    for folder in (paths.CFGS, paths.GOLDEN / "cases", paths.RARE):
        for path in sorted(folder.glob("*.cfg")):
            quick = folder.name == "cases" or (path.stem in QUICK and folder.name == "cfgs")
            params.append(
                pytest.param(path, id=f"{folder.name}/{path.stem}", marks=[] if quick else [pytest.mark.slow])
            )
    marks = (pytest.mark.slow, paths.needs_shared)
    return params + [pytest.param(path, id=f"alexeyab/{path.stem}", marks=marks) for path in paths.official_cfgs()]


@pytest.mark.filterwarnings("ignore::darknet_py.errors.UnusedOptionWarning")
@pytest.mark.parametrize("path", cases())
def test_weights_round_trip_through_both_checkpoint_formats(path: pathlib.Path) -> None:
    paths.require_files_of(path)
    dialect = "pjreddie" if path.name.startswith("pj_") else "alexeyab"
    net = save_random_weights(path, dialect)
    if any(layer.options.dontload or layer.options.dontsave or layer.options.numload for layer in net):
        pytest.skip("dontload, dontsave or numload: a saved file differs from what is loaded")
    before = pathlib.Path("a.weights").read_bytes()
    convert("a.weights", "b.pt", cfg=path, dialect=dialect)
    convert("b.pt", "c.safetensors")
    pathlib.Path("a.weights").unlink()
    convert("c.safetensors", "d.weights", write_cfg="d.cfg")
    assert pathlib.Path("d.weights").read_bytes() == before
    assert pathlib.Path("d.cfg").read_bytes() == path.read_bytes()


@settings(max_examples=20)
@given(configs(), st.sampled_from(Dialect))
def test_weights_of_random_networks_round_trip(config: Config, dialect: Dialect) -> None:
    with tempfile.TemporaryDirectory() as folder:
        a, b, c, d, path = (pathlib.Path(folder, name) for name in ("a.weights", "b.pt", "c.safetensors", "d", "a.cfg"))
        path.write_text(cfg.dumps(config))
        net = random_networks.randomise(Network(cfg.load(path), dialect=dialect))
        net.seen = 2**40 + 3
        weights.save(net, a)
        convert(a, b, cfg=path, dialect=dialect)
        convert(b, c)
        convert(c, d)
        assert d.read_bytes() == a.read_bytes()


@pytest.mark.parametrize("version", [(0, 1, 0), (0, 2, 0), (0, 2, 5), (1001, 0, 0)])
@pytest.mark.parametrize("dialect", ["alexeyab", "pjreddie"])
def test_every_header_version_round_trips(version: tuple[int, int, int], dialect: str) -> None:
    pathlib.Path("made.cfg").write_text(random_networks.TEXT)
    net = random_networks.network(random_networks.TEXT, dialect=dialect)
    net.version, net.seen = version, 6400
    weights.save(net, "a.weights")
    convert("a.weights", "b.safetensors", cfg="made.cfg", dialect=dialect)
    convert("b.safetensors", "c.pt")
    convert("c.pt", "d.weights")
    assert pathlib.Path("d.weights").read_bytes() == pathlib.Path("a.weights").read_bytes()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_a_checkpoint_loads_without_a_cfg(head: Network, suffix: str) -> None:
    convert("a.weights", f"b{suffix}", cfg="head.cfg", names=["cat", "dog"])
    x = torch.rand(1, 3, 32, 32)
    net = darknet_py.load(f"b{suffix}")
    assert (net.names, net.seen, net.version) == (("cat", "dog"), 2**33 + 7, (0, 2, 5))
    assert torch.equal(net(x)[0], head(x)[0])
    assert darknet_py.Detector(net).names == ["cat", "dog"]
    assert darknet_py.load(f"b{suffix}", size=(64, 96)).shape == (3, 96, 64)
    assert torch.equal(darknet_py.load("head.cfg", f"b{suffix}")(x)[0], head(x)[0])


def test_a_pt_loads_with_weights_only(head: Network) -> None:
    convert("a.weights", "b.pt", cfg="head.cfg")
    content = torch.load("b.pt", weights_only=True)
    assert content["format"] == "darknet_py 1"
    assert (content["cfg"], content["dialect"], content["seen"]) == (HEAD, "alexeyab", 2**33 + 7)
    assert content["state_dict"].keys() == head.state_dict().keys()


def test_a_safetensors_holds_the_same_metadata_as_strings(head: Network) -> None:
    safetensors = pytest.importorskip("safetensors", reason="the extra safetensors is not installed")
    convert("a.weights", "b.safetensors", cfg="head.cfg", names=["1", "true"])
    with safetensors.safe_open("b.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert (metadata["cfg"], metadata["seen"], metadata["version"]) == (HEAD, str(2**33 + 7), "[0, 2, 5]")
    assert darknet_py.load("b.safetensors").names == ("1", "true")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_backbone_round_trips(head: Network, suffix: str) -> None:
    weights.save(head, "a.conv.2", upto=2)
    convert("a.conv.2", f"b{suffix}", cfg="head.cfg", upto=2)
    convert(f"b{suffix}", "c.conv.2")
    assert pathlib.Path("c.conv.2").read_bytes() == pathlib.Path("a.conv.2").read_bytes()
    with pytest.raises(WeightsError, match="a backbone of 2 layers, load it with upto=2"):
        darknet_py.load(f"b{suffix}")
    part = darknet_py.load(f"b{suffix}", upto=2)
    assert torch.equal(part.state_dict()["layers.1.weights"], head.state_dict()["layers.1.weights"])


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_checkpoint_contains_the_tree_file(suffix: str) -> None:
    folder = pathlib.Path("there", "data")
    folder.mkdir(parents=True)
    (folder / "t.tree").write_text("animal -1\nthing -1\ncat 0\ndog 0\n")
    text = "[net]\nwidth=4\nheight=4\nchannels=4\n[softmax]\ntree=data/t.tree\n"
    path = pathlib.Path("there", "a.cfg")
    path.write_text(text.replace("width=4\nheight=4", "width=1\nheight=1"))
    net = darknet_py.load(path)
    loading.save(net, f"b{suffix}")
    for file in sorted(folder.rglob("*")):
        file.unlink()
    again = darknet_py.load(f"b{suffix}")
    loading.save(again, f"c{suffix}")
    x = torch.rand(2, 4, 1, 1)
    assert torch.equal(darknet_py.load(f"c{suffix}")(x)[0], net(x)[0])


def test_a_cfg_that_is_not_utf8_round_trips() -> None:
    path = pathlib.Path("a.cfg")
    path.write_bytes(b"# caf\xe9\n[net]\nwidth=1\nheight=1\nchannels=1\n[conv]\n")
    save_random_weights(path)
    convert("a.weights", "b.pt", cfg=path)
    convert("b.pt", "c.weights", write_cfg="c.cfg")
    assert pathlib.Path("c.cfg").read_bytes() == path.read_bytes()
    convert("b.pt", "d.safetensors")
    assert len(darknet_py.load("d.safetensors").layers) == 1


def test_pickled_models_are_refused() -> None:
    torch.save(plain_torch_network(), "model.pt")
    with pytest.raises(WeightsError, match=r"expected tensors and plain values, found other objects.*state_dict"):
        darknet_py.load("model.pt")
    pathlib.Path("evil.pt").write_bytes(pickle.dumps(print))
    with pytest.raises(WeightsError, match="would run code from the file"):
        darknet_py.load("evil.pt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pt", b"not a file of torch", "expected a file of torch.save, found a damaged file"),
        ("a.pt", b"[net]\nwidth=4", "found the text of a cfg"),
        ("a.safetensors", b"\x10\0\0\0\0\0\0\0{broken", "expected a safetensors file, found"),
    ],
)
def test_broken_checkpoints_are_refused(name: str, content: bytes, message: str) -> None:
    pathlib.Path(name).write_bytes(content)
    with pytest.raises(WeightsError, match=re.escape(message)):
        darknet_py.load(name)


def test_the_error_for_a_state_dict_suggests_by_order() -> None:
    torch.save(plain_torch_network().state_dict(), "port.pt")
    with pytest.raises(WeightsError, match=r"found 14 entries \(0.weight, 1.weight, .*--by-order"):
        darknet_py.load("port.pt")


def test_convert_reports_missing_and_conflicting_arguments(head: Network) -> None:
    with pytest.raises(ConfigError, match="does not name its network: expected cfg as well"):
        convert("a.weights", "b.pt")
    convert("a.weights", "b.pt", cfg="head.cfg")
    with pytest.raises(WeightsError, match="contains weights: expected no other weights"):
        darknet_py.load("b.pt", "a.weights")
    with pytest.raises(WeightsError, match="fused weights need another cfg: expected write_cfg"):
        convert("a.weights", "c.weights", cfg="head.cfg", fuse_bn=True)
    other = random_networks.network(random_networks.TEXT)
    longer = checkpoint.Checkpoint(other.state_dict() | {"layers.2.biases": torch.zeros(4)}, "", layers=4)
    with pytest.raises(WeightsError, match=re.escape("layers.2.biases: expected (3,)")):
        checkpoint.fill(other, longer, "b.pt")
    with pytest.raises(WeightsError, match="expected the cfg that it was written for"):
        checkpoint.fill(other, checkpoint.load("b.pt"), "b.pt", upto=4)


def test_a_newer_format_is_reported() -> None:
    containers.write("a.pt", {"format": "darknet_py 9", "state_dict": {}})
    with pytest.raises(WeightsError, match="of another version"):
        darknet_py.load("a.pt")


def test_the_command_converts_and_writes_the_cfg(head: Network, capsys: pytest.CaptureFixture[str]) -> None:
    pathlib.Path("my.names").write_text("cat\ndog\n")
    assert cli.main(["convert", "a.weights", "b.safetensors", "--cfg", "head.cfg", "--names", "my.names"]) == 0
    assert cli.main(["convert", "b.safetensors", "c.weights", "--write-cfg", "c.cfg"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("c.weights: 5 layers, seen 8589934599, ")
    assert pathlib.Path("c.weights").read_bytes() == pathlib.Path("a.weights").read_bytes()
    assert pathlib.Path("c.cfg").read_text() == HEAD
    assert cli.main(["convert", "a.weights", "d.pt"]) == 1
    assert "expected cfg as well" in capsys.readouterr().err
