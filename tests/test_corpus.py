"""Every available cfg, unmodified: it builds, prints and round-trips; pjreddie's also save, load and run."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import cast

import pytest
import torch

from darknet_py import cfg, weights
from darknet_py.errors import UnusedOptionWarning
from darknet_py.network import Network
from tests.helpers import paths, random_networks

DEBIAN = paths.DEBIAN / "cfg"
FOLDERS = {
    "package": (paths.CFGS, 9, "part of the project"),
    "golden": (paths.GOLDEN / "cases", 50, "part of the project"),
    "alexeyab": (paths.OFFICIAL, 95, paths.NO_SHARED),
    "rare": (paths.RARE, 26, "part of the project"),
    "debian": (DEBIAN, 45, "Debian's package darknet is not installed"),
}
QUICK = 9_000_000  # floats
RUNNABLE = 2.5e9  # operations per image; every architecture has a network below that


def corpus(*groups: str) -> list[object]:
    params: list[object] = []
    for group in groups:
        folder, _, reason = FOLDERS[group]
        files = paths.official_cfgs() if group == "alexeyab" else sorted(folder.glob("*.cfg"))
        marks = [paths.needs_shared] if group == "alexeyab" else []
        params += [pytest.param(path, id=f"{group}/{path.stem}", marks=marks) for path in files]
        if not files:
            params.append(pytest.param(folder, id=group, marks=pytest.mark.skip(reason=reason)))
    return params


def dialect_of(path: Path) -> str:
    return "pjreddie" if path.parent == DEBIAN or path.name.startswith("pj_") else "alexeyab"


def build(path: Path, device: str = "meta") -> Network:
    with warnings.catch_warnings(), torch.device(device):
        warnings.simplefilter("ignore", UnusedOptionWarning)
        return Network(cfg.load(path), dialect=dialect_of(path))


def floats(net: Network) -> int:
    return sum(tensor.numel() for layer in net for _, tensor in layer.stored())


@pytest.mark.parametrize("group", FOLDERS)
def test_every_folder_has_its_number_of_cfgs(group: str) -> None:
    folder, count, reason = FOLDERS[group]
    if not folder.is_dir():
        pytest.skip(reason)
    assert len(list(folder.glob("*.cfg"))) >= count


@pytest.mark.parametrize("path", corpus(*FOLDERS))
def test_cfgs_build_and_print(path: Path) -> None:
    paths.require_files_of(path)
    net = build(path)
    lines = str(net).splitlines()
    width = len(str(len(net.layers) - 1))  # of the first column, which is empty where a row goes on
    rows = [line.split()[:2] for line in lines[1:-1] if line[:width].strip()]
    assert rows == [[str(number), section.name] for number, section in enumerate(net.config.sections[1:])]
    assert re.fullmatch(rf"Total BFLOPS \d+\.\d{{3}}, {floats(net):,} floats", lines[-1])
    assert all(min(layer.shape) > 0 for layer in net)
    assert floats(net) == sum(tensor.numel() for tensor in net.state_dict().values())


@pytest.mark.parametrize("path", corpus(*FOLDERS))
def test_cfgs_round_trip(path: Path) -> None:
    config = cfg.load(path)
    again = cfg.loads(cfg.dumps(config), config.path)
    assert again == config
    assert config.text.encode("utf-8", "surrogateescape") == path.read_bytes()


def write_random_weights(net: Network, path: Path) -> None:
    """Write a file of random weights, of the version that pjreddie writes."""
    net.version = (0, 2, 0)
    weights.save(random_networks.randomise(net), path)


def pjreddie_cfgs(flops: float = float("inf")) -> list[object]:
    """pjreddie's cfgs with at most ``flops`` operations per image; those of large files are marked slow."""
    params: list[object] = []
    for path in sorted(DEBIAN.glob("*.cfg")):
        net = build(path)
        if net.flops <= flops:
            marks = [pytest.mark.slow] if floats(net) > QUICK else []
            params.append(pytest.param(path, id=path.stem, marks=marks))
    skip = pytest.mark.skip(reason=FOLDERS["debian"][2])
    return params or [pytest.param(DEBIAN, id="none", marks=skip)]


each_pjreddie_cfg = pytest.mark.parametrize("path", pjreddie_cfgs())


@each_pjreddie_cfg
def test_pjreddies_weights_are_saved_byte_for_byte(path: Path, tmp_path: Path) -> None:
    net = build(path, "cpu")
    write_random_weights(net, tmp_path / "a.weights")
    assert (tmp_path / "a.weights").stat().st_size == 20 + 4 * floats(net)
    for tensor in net.state_dict().values():
        tensor.zero_()
    weights.save(weights.load(net, tmp_path / "a.weights"), tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == (tmp_path / "a.weights").read_bytes()


@pytest.mark.parametrize("path", pjreddie_cfgs(RUNNABLE))
def test_pjreddies_networks_run(path: Path) -> None:
    net = random_networks.randomise(build(path, "cpu"))
    x = random_networks.random(1, *net.shape, low=0)
    with torch.inference_mode():
        outputs = net(x)
    shapes = [tuple(head.shape) for head in net.heads] or [tuple(net[-1].shape)]
    assert [tuple(y.shape[1:]) for y in outputs] == shapes
    assert all(y.isfinite().all() for y in outputs)


DARKNET = shutil.which("darknet")


@pytest.mark.skipif(DARKNET is None, reason="darknet is not installed (Debian's package is pjreddie's)")
@each_pjreddie_cfg
def test_pjreddies_program_reads_our_weights(path: Path, tmp_path: Path) -> None:
    """``darknet partial`` loads a file and writes it again, layer by layer, in the order and sizes of the C code."""
    net = build(path, "cpu")
    write_random_weights(net, tmp_path / "a.weights")
    # One image per batch: a training batch would take gigabytes.
    text = re.sub(r"(?m)^(\s*)(batch|subdivisions)(\s*)=.*$", r"\1\2=1", path.read_text())
    (tmp_path / "one.cfg").write_text(text)
    command = [cast(str, DARKNET), "partial", "one.cfg", "a.weights", "b.weights", str(len(net.layers))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode == 1 and "Couldn't open file" in done.stderr:
        pytest.skip(f"the program looks for files of this cfg in its own folder: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr[-500:]
    written = (tmp_path / "b.weights").read_bytes()
    assert written[20:] == (tmp_path / "a.weights").read_bytes()[20:]
