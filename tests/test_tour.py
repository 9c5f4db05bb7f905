"""The tour shows what there is: cfg lines whose keys are read, and one command at least at every stop."""

from __future__ import annotations

import re

import pytest

from darknet_py import cfg
from darknet_py.cfg import schema
from darknet_py.cfg.net_section import Net
from darknet_py.layers import LAYERS
from tests.helpers.paths import ROOT

TEXT = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
STOPS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[2:-1]  # without the interpreter, and what is out of scope
OPTIONS = {name: kind.Options for name, kind in LAYERS.items()} | {"net": Net}


@pytest.mark.parametrize("stop", STOPS, ids=[stop.partition("\n")[0] for stop in STOPS])
def test_a_stop_has_a_paper_and_cfg_lines_that_are_read(stop: str) -> None:
    title = stop.partition("\n")[0]
    assert "https://arxiv.org/abs/" in stop or title in ("YOLO9000: a tree of classes", "Hyperparameters by search")
    for block in re.findall(r"^```ini\n(.*?)^```$", stop, re.MULTILINE | re.DOTALL):
        for section in cfg.loads(f"[net]\n{block}").sections[1:]:
            assert {entry.key for entry in section.entries} <= set(schema.keys(OPTIONS[section.name])), section.name
