"""``[region]`` with a class tree on images that have a class and no box, against pjreddie's C."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from darknet_py.cfg import Dialect
from darknet_py.layers import Head, Shape, StepContext
from tests.helpers import random_networks
from tests.helpers.paths import ROOT

GOLDEN = ROOT / "tests" / "golden" / "class_only.npz"
TREE = "animal -1\nvehicle -1\ndog 0\ncat 0\ncar 1\nterrier 2\npoodle 2\n"
KEYS = {"classes": "7", "num": "2", "anchors": "1,1,2,3", "softmax": "1", "bias_match": "1", "thresh": ".6"}
KEYS |= {"object_scale": "5", "noobject_scale": "2", "class_scale": "3"}


@pytest.mark.parametrize("rescore", [0, 1])
@pytest.mark.parametrize("seen", [0, 20000])
def test_deltas_and_line_are_those_of_c(tmp_path: pathlib.Path, seen: int, rescore: int) -> None:
    """Of images with boxes (through ``map=``), with classes only, and with both, where C ignores the box."""
    (tmp_path / "a.tree").write_text(TREE)
    (tmp_path / "a.map").write_text("2\n1\n6\n")
    keys = {**KEYS, "rescore": str(rescore), "tree": str(tmp_path / "a.tree"), "map": str(tmp_path / "a.map")}
    layer = random_networks.layer("region", keys, Shape(24, 2, 3), dialect=Dialect.PJREDDIE).train()
    with np.load(GOLDEN) as golden:
        x, targets, delta = (torch.from_numpy(golden[name]) for name in ("x", "truth", f"delta_{seen}_{rescore}"))
        line = str(golden[f"line_{seen}_{rescore}"])
    assert isinstance(layer, Head)
    loss = layer.loss(x, layer(x), F.pad(targets, (0, 1)), StepContext(size=(96, 64), seen=seen))
    torch.testing.assert_close(loss.delta, delta, rtol=1e-5, atol=1e-6)
    numbers = {name: float(value) for name, value in loss.parts.items()}
    assert layer.loss_line(0, numbers).strip() == line.strip()


def test_the_line_of_classes_alone_has_no_iou(tmp_path: pathlib.Path) -> None:
    """C divides the numbers of boxes by 0, those of classes by the number of classes."""
    (tmp_path / "a.tree").write_text(TREE)
    keys = {**KEYS, "tree": str(tmp_path / "a.tree")}
    layer = random_networks.layer("region", keys, Shape(24, 2, 3), dialect=Dialect.PJREDDIE).train()
    assert isinstance(layer, Head)
    x = torch.zeros(1, 24, 2, 3)
    targets = torch.tensor([[[999999.0] * 4 + [3, 0]]])
    parts = layer.loss(x, layer(x), targets, StepContext(size=(96, 64), seen=0)).parts
    line = layer.loss_line(0, {name: float(value) for name, value in parts.items()})
    # Pr(animal) * Pr(cat | animal) = 1/2 * 1/2
    assert line == ("Region Avg IOU: -nan, Class: 0.250000, Obj: -nan, No Obj: 0.000000, Avg Recall: -nan,  count: 0")
