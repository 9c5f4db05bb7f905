"""Number of floats in a .weights file and BFLOPS per image, as C Darknet computes them (golden/totals.json)."""

from __future__ import annotations

import json
import warnings
from typing import TypedDict, cast

import pytest
import torch

from darknet_py import cfg
from darknet_py.errors import UnusedOptionWarning
from darknet_py.network import Network
from tests.helpers import paths


class Total(TypedDict):
    """Number of floats, and the BFLOPS that C prints; None where AlexeyAB's code aborts."""

    floats: int
    bflops: str | None


TOTALS = cast(dict[str, Total], json.loads((paths.GOLDEN / "totals.json").read_text(encoding="utf-8")))
FOLDERS = {
    "alexeyab": (paths.OFFICIAL, paths.NO_SHARED),
    "rare": (paths.RARE, "part of the project"),
    "debian": (paths.DEBIAN / "cfg", "Debian's package darknet is not installed"),
}
LAST_DIGIT = 0.001  # C adds the layers up in float32


def network(name: str) -> Network:
    group, _, stem = name.partition("/")
    folder, reason = FOLDERS[group]
    path = folder / f"{stem}.cfg"
    if not path.is_file():
        pytest.skip(reason)
    paths.require_files_of(path)
    # Debian has pjreddie's cfgs; only pjreddie's code runs the ResNets, whose shortcuts add maps of different sizes.
    dialect = "pjreddie" if group == "debian" or TOTALS[name]["bflops"] is None else "alexeyab"
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore", UnusedOptionWarning)
        return Network(cfg.load(path), dialect=dialect)


def test_all_groups_have_totals() -> None:
    counts = {group: sum(name.startswith(f"{group}/") for name in TOTALS) for group in FOLDERS}
    assert counts == {"alexeyab": 95, "rare": 26, "debian": 45}


@pytest.mark.parametrize("name", TOTALS)
def test_floats_and_bflops_equal_darknets(name: str) -> None:
    net, total = network(name), TOTALS[name]
    assert sum(tensor.numel() for layer in net for _, tensor in layer.stored()) == total["floats"]
    if total["bflops"] is not None:
        assert net.flops / 1e9 == pytest.approx(float(total["bflops"]), abs=LAST_DIGIT)
