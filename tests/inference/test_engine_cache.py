"""Converted networks are kept under a key of all that determines them, verified, and converted again if damaged."""

from __future__ import annotations

import logging
import os
import pathlib
import subprocess
import sys
from importlib import metadata

import pytest
import torch

from darknet_py import locks
from darknet_py.errors import DarknetError
from darknet_py.inference import engine_cache
from darknet_py.inference.engine_cache import cache_key, load_or_convert
from darknet_py.network import Network
from tests.helpers import export_networks, random_networks

TREE = """
[net]
width=1
height=1
channels=1
[conv]
filters=3
size=1
activation=linear
[softmax]
tree={path}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("DARKNET_PY_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "engines" / "torch"


@pytest.fixture
def net() -> Network:
    return random_networks.network(random_networks.TEXT)


class Converter:
    """Writes a text for a network, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, folder: pathlib.Path) -> None:
        self.count += 1
        (folder / "network.txt").write_text("converted")

    def open(self, net: Network) -> str:
        return load_or_convert(net, "torch", self.write, lambda folder: (folder / "network.txt").read_text())


def test_a_network_is_converted_once(net: Network, cache: pathlib.Path) -> None:
    converter = Converter()
    assert [converter.open(net) for _ in range(3)] == ["converted"] * 3
    assert converter.count == 1
    assert [entry.name for entry in cache.iterdir()] == [cache_key(net, "torch")]


@pytest.mark.parametrize("damage", ["content", "missing", "checksums", "no checksums", "empty"])
def test_a_damaged_entry_is_converted_again(damage: str, net: Network, cache: pathlib.Path) -> None:
    converter = Converter()
    converter.open(net)
    entry = cache / cache_key(net, "torch")
    if damage == "content":
        (entry / "network.txt").write_text("cinverted")
    elif damage == "checksums":
        (entry / "sha256.json").write_text("[1")
    else:
        for file in entry.iterdir():
            if damage == "empty" or file.suffix == {"missing": ".txt", "no checksums": ".json"}[damage]:
                file.unlink()
    assert [converter.open(net) for _ in range(3)] == ["converted"] * 3
    assert converter.count == 2
    assert [entry.name for entry in cache.iterdir()] == [cache_key(net, "torch")]


def test_the_key_depends_on_all_that_determines_the_conversion(
    net: Network, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [cache_key(net, "torch"), cache_key(random_networks.randomise(net, seed=1), "torch")]
    keys.append(cache_key(random_networks.network(random_networks.TEXT.replace("width=4", "width=8")), "torch"))
    keys.append(cache_key(net, "numpy"))
    tree = tmp_path / "a.tree"
    for parents in ("a -1\nb -1\nc -1\n", "a -1\nb 0\nc 0\n"):
        tree.write_text(parents)
        keys.append(cache_key(random_networks.network(TREE.format(path=tree)), "torch"))
    version = metadata.version
    for package in ("torch", "onnx"):
        monkeypatch.setattr(metadata, "version", lambda name, p=package: "9" if name == p else version(name))
        keys.append(cache_key(net, "torch"))
    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(engine_cache, "_code_version", lambda: "other code")
    keys.append(cache_key(net, "torch"))
    assert len(set(keys)) == len(keys)


def test_the_key_does_not_depend_on_the_name_of_the_cfg(net: Network) -> None:
    other = random_networks.network(random_networks.TEXT, path="other.cfg")
    assert cache_key(net, "torch") == cache_key(other, "torch")


PROCESS = """
import pathlib, sys, time
from darknet_py.inference.engine_cache import load_or_convert
from tests.helpers import random_networks

def write(folder):
    for part in range(20):
        with open(folder / "network.txt", "a") as file:
            file.write("converted")
        time.sleep(0.005)

def read(folder):
    return (folder / "network.txt").read_text() == 20 * "converted"

net = random_networks.network(random_networks.TEXT)
print(all(load_or_convert(random_networks.randomise(net, seed), "torch", write, read) for seed in range(10)))
"""


def test_two_processes_may_convert_one_network_at_once(cache: pathlib.Path) -> None:
    arguments = [sys.executable, "-c", PROCESS]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    both = [subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in both] == ["True", "True"]
    entries = list(cache.iterdir())
    assert len(entries) == 10
    assert all(engine_cache._is_intact(entry) for entry in entries)


def test_an_entry_that_another_process_replaces_is_not_an_error(net: Network, cache: pathlib.Path) -> None:
    converter = Converter()
    converter.open(net)
    entry = cache / cache_key(net, "torch")

    def write_while_another_process_does(folder: pathlib.Path) -> None:
        converter.write(folder)
        entry.mkdir()
        (entry / "other.txt").write_text("of the other process")

    def vanish_once(folder: pathlib.Path) -> str:
        if folder == entry:
            for file in entry.iterdir():
                file.unlink()
            entry.rmdir()
        return (folder / "network.txt").read_text()

    assert load_or_convert(net, "torch", write_while_another_process_does, vanish_once) == "converted"
    assert Converter().open(net) == "converted"


def test_a_cache_that_cannot_be_written_to_is_not_used(
    net: Network, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DARKNET_PY_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert Converter().open(net) == "converted"
    (message,) = caplog.messages
    assert message.startswith("engine torch: the converted network is not kept: ")
    assert "Not a directory" in message


@pytest.mark.skipif(not locks.HAS_LOCKS, reason="no locks")
def test_folders_of_killed_conversions_are_deleted_and_those_of_running_ones_are_not(
    net: Network, cache: pathlib.Path
) -> None:
    running, killed = (cache / f".darknet_py-{digit * 16}.tmp" for digit in "01")
    for folder in (running, killed):
        (folder / "new").mkdir(parents=True)
    held = locks.hold(running)
    assert held is not None
    Converter().open(net)
    locks.release(held)
    assert sorted(entry.name for entry in cache.iterdir()) == [running.name, cache_key(net, "torch")]


def test_errors_of_converters_are_one_sentence(net: Network, cache: pathlib.Path) -> None:
    def write(_folder: pathlib.Path) -> None:
        raise RuntimeError("no kernel\nat line 1\nat line 2")

    with pytest.raises(DarknetError, match=r"^engine torch: cannot convert the network: no kernel$"):
        load_or_convert(net, "torch", write, str)
    assert not list(cache.iterdir())


def test_networks_of_another_precision_have_a_key() -> None:
    net = export_networks.detector()
    assert cache_key(net, "torch") != cache_key(net.to(torch.bfloat16), "torch")
