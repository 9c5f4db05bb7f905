"""Sections of other modules: loaded by path, by name, by an installed package, and in other processes."""

from __future__ import annotations

import argparse
import copy
import pathlib
import pickle
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

import darknet_py as dk
from darknet_py import cfg, cli
from darknet_py.layers import LAYERS, load_plugin
from darknet_py.network import Network
from tests.commands.test_options import subcommands
from tests.helpers import plugins
from tests.helpers.random_networks import randomise

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLUGIN = '''
from dataclasses import dataclass
from torch import Tensor
from darknet_py.cfg.schema import option
from darknet_py.layers import Layer, section

@section("{name}")
class Double(Layer):
    """Twice its input."""

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys."""

        factor: float = option(2.0, "factor")

    options: Options

    def forward(self, x: Tensor) -> Tensor:
        """Multiply."""
        return x * self.options.factor
'''
CFG = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=2\n[{name}]\nfactor=3\n"


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    with plugins.forgotten():
        yield


def write(folder: pathlib.Path, name: str = "double", code: str = PLUGIN) -> pathlib.Path:
    (folder / f"{name}.cfg").write_text(CFG.format(name=name))
    path = folder / f"{name}.py"
    path.write_text(code.format(name=name))
    return path


def install(folder: pathlib.Path, package: str, section: str, module: str) -> None:
    """Write what pip writes for a package with an entry point."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[darknet_py.layers]\n{section} = {module}\n")


def test_a_file_is_loaded_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    with pytest.raises(dk.ConfigError, match=r"layer 1 \[double\] unknown section; that of a plug-in needs --plugin"):
        dk.load(tmp_path / "double.cfg")
    module = load_plugin(path)
    monkeypatch.chdir(tmp_path)
    assert load_plugin("double.py") is module
    net = dk.load("double.cfg")
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(net(x)[0], 3 * net.layers[0](x))


def test_a_module_that_was_imported_is_not_loaded_from_its_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "imported_double")
    monkeypatch.syspath_prepend(tmp_path)
    module = load_plugin("imported_double")
    monkeypatch.setitem(sys.modules, "imported_double", module)
    assert load_plugin(path) is module


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_module\n", r"line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = (\n", r"line 1: '\(' was never closed"),
        (PLUGIN.replace("{name}", "yolo"), r"line 7: \[yolo\] is registered already, by Yolo of darknet_py\.layers"),
        (PLUGIN + "\nraise SystemExit(3)\n", r"line 23: SystemExit: 3"),
    ],
)
def test_what_fails_is_named_and_leaves_no_section(tmp_path: pathlib.Path, code: str, message: str) -> None:
    path = write(tmp_path, code=code)
    before = dict(LAYERS)
    with pytest.raises(dk.DarknetError, match=rf"^plug-in {path}: {message}"):
        load_plugin(path)
    assert before == LAYERS
    path.write_text(PLUGIN.format(name="double"))
    load_plugin(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.py", "plug-in nowhere.py: no such file: expected the path of a .py file or the name of a module"),
        ("no.such", "plug-in no.such: no module named 'no': expected the name of a module or the path of a .py file"),
    ],
)
def test_what_is_not_there(name: str, message: str) -> None:
    with pytest.raises(dk.DarknetError) as error:
        load_plugin(name)
    assert str(error.value) == message


def test_an_installed_package_is_imported_when_a_cfg_has_its_section(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "installed_double")
    install(tmp_path, "some-layers", "installed_double", "installed_double")
    monkeypatch.syspath_prepend(tmp_path)
    Network(cfg.loads("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n"))
    assert "installed_double" not in sys.modules
    with pytest.raises(
        dk.ConfigError, match=r"\[instaled_double\] unknown section \(did you mean 'installed_double'\?"
    ):
        Network(cfg.loads(CFG.format(name="instaled_double")))
    assert "installed_double" not in sys.modules
    dk.load(tmp_path / "installed_double.cfg")
    monkeypatch.delitem(sys.modules, "installed_double")


def test_installed_packages_that_do_not_keep_their_word(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "other_double")
    install(tmp_path, "first", "missing_double", "other_double")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(dk.ConfigError, match=r"plug-in other_double of first does not register this section"):
        Network(cfg.loads(CFG.format(name="missing_double")))
    install(tmp_path, "second", "missing_double", "another_module")
    with pytest.raises(dk.ConfigError, match=r"of plug-in \w+ of \w+ and plug-in \w+ of \w+: expected one of them"):
        Network(cfg.loads(CFG.format(name="missing_double")))
    monkeypatch.delitem(sys.modules, "other_double")


def test_a_checkpoint_says_which_plug_in_it_needs(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path)
    module = load_plugin(path)
    net = randomise(dk.load(tmp_path / "double.cfg"))
    for name in ("double.pt", "double.safetensors"):
        dk.save(net, tmp_path / name)
    del LAYERS["double"]
    for name in ("double.pt", "double.safetensors"):
        with pytest.raises(
            dk.CheckpointError, match=r"\[double\] is a section of the plug-in double\.py: expected --plug"
        ):
            dk.load(tmp_path / name)
    del sys.modules[module.__name__]
    load_plugin(path)
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(dk.load(tmp_path / "double.pt")(x)[0], net(x)[0])


def test_other_processes_load_the_plug_in_of_a_network_that_is_sent_to_them(tmp_path: pathlib.Path) -> None:
    load_plugin(write(tmp_path))
    net = randomise(dk.load(tmp_path / "double.cfg"))
    (tmp_path / "net.pickle").write_bytes(pickle.dumps(net))
    code = "import pickle, sys; net = pickle.load(open(sys.argv[1], 'rb')); print(net.layers[1].options.factor)"
    command = [sys.executable, "-c", code, str(tmp_path / "net.pickle")]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "3.0\n"
    copied = copy.deepcopy(net)
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(copied(x)[0], net(x)[0])
    assert copied.layers[0] is not net.layers[0]


@pytest.mark.parametrize(
    "line", ["info {cfg} --plugin {plugin}", "detector map no.data {cfg} no.weights -plugin {plugin}"]
)
def test_command_lines_load_it(tmp_path: pathlib.Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path)
    words = line.format(cfg=tmp_path / "double.cfg", plugin=path).split()
    assert cli.main(words[:-2]) == 1
    assert "double" not in LAYERS
    cli.main(words)
    assert "double" in LAYERS
    assert cli.main([*words[:-1], "no.such"]) == 1
    assert "plug-in no.such: no module named 'no'" in capsys.readouterr().err


def test_every_verb_that_reads_a_cfg_has_the_option() -> None:
    def reads_a_cfg(parser: argparse.ArgumentParser) -> bool:
        return any(action.dest in ("model", "cfg", "a") for action in parser._actions)

    verbs = {verb: parser for verb, parser in subcommands(cli.build_parser()) if reads_a_cfg(parser)}
    assert {"train", "info", "compare", "convert", "new", "data stats"} <= verbs.keys()
    without = [verb for verb, p in verbs.items() if "--plugin" not in p.format_help()]
    assert without == ["fetch"] * ("fetch" in verbs)
