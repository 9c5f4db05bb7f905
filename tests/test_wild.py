"""The report of ``tools/wild.py`` over a folder of cfgs and weights."""

from __future__ import annotations

import pathlib

import pytest

from darknet_py import weights
from tests.helpers.random_networks import TEXT, network
from tools import wild


def test_every_cfg_of_a_folder_has_a_line(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "more").mkdir()
    for name in ("a", "b", "more/c"):
        (tmp_path / f"{name}.cfg").write_text(TEXT)
    (tmp_path / "d.cfg").write_text("[net]\nwidth=8\nheight=8\nchannels=3\n[Focus]\n")
    weights.save(network(TEXT), tmp_path / "a.weights")
    (tmp_path / "b.weights").write_bytes((tmp_path / "a.weights").read_bytes()[:-100])
    assert wild.main([str(tmp_path), "--run"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == [
        "fits         a.cfg",
        "does not fit b.cfg",
        "refused      d.cfg",
        "accepted     more/c.cfg",
    ]
    assert lines[0].endswith(" notes, runs at 4 x 4")
    assert "[Focus] section of a YOLOv5 conversion" in lines[2]
    assert lines[-1] == "1 accepted, 1 does not fit, 1 fits, 1 refused"
