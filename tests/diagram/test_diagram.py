"""Diagrams: known networks are folded into their known blocks, and every connection is drawn."""

from __future__ import annotations

import pathlib
import re
import sys

import pytest

from darknet_py import cfg
from darknet_py.cli import main
from darknet_py.diagram.blocks import fold, sequence_text
from darknet_py.diagram.drawing import draw_diagram
from darknet_py.diagram.stages import Stage, find_stages
from darknet_py.errors import DarknetError
from darknet_py.network import INPUT, Network
from tests.helpers import paths


def load(name: str) -> Network:
    return Network(cfg.load(paths.ROOT / "cfgs" / f"{name}.cfg"))


@pytest.mark.parametrize(
    ("name", "residuals"),
    [("yolov3", [1, 2, 8, 8, 4]), ("cspdarknet53", [1, 2, 8, 8, 4]), ("yolov4", [1, 2, 8, 8, 4])],  # Darknet53's
)
def test_residual_units_are_counted(name: str, residuals: list[int]) -> None:
    text = "\n".join(line for stage in find_stages(load(name)) for line in stage.lines)
    assert [int(count or 1) for count in re.findall(r"(?:(\d+) x )?residual", text)] == residuals


def test_a_csp_stage_is_one_line() -> None:
    stage = find_stages(load("yolov4"))[3]
    assert stage.lines == (
        "3x3 256 /2",
        "concat (1x1 128 | 1x1 128, 8 x residual (1x1 128, 3x3 128), 1x1 128)",
        "1x1 256",
    )
    assert stage.shape == (256, 76, 76)


def test_heads_end_stages_and_read_what_the_cfg_says() -> None:
    stages = find_stages(load("yolov3-tiny"))
    heads = [stage for stage in stages if stage.is_output]
    assert [head.shape for head in heads] == [(255, 13, 13), (255, 26, 26)]
    upper = heads[1]
    assert [stages[source].last for source in upper.sources] == [18, 8]  # [route] layers=-1, 8
    assert [stage.column for stage in stages if stage.row == 4] == [0, 2]


@pytest.mark.parametrize("path", sorted((paths.ROOT / "cfgs").glob("*.cfg")), ids=lambda path: path.stem)
def test_every_layer_is_in_one_stage_and_every_connection_between_two(path: pathlib.Path) -> None:
    network = Network(cfg.load(path))
    stages = find_stages(network)
    owner = {layer: number for number, stage in enumerate(stages) for layer in range(stage.first, stage.last + 1)}
    unowned = set(range(len(network.layers))) - set(owner)
    assert all(
        len(network.sources[layer]) == 1 and network[layer].is_identity(network[layer].shape) for layer in unowned
    )
    for layer, sources in enumerate(network.sources):
        for source in sources if layer in owner else ():
            while source in unowned:
                (source,) = network.sources[source]
            if source != INPUT and owner[source] != owner[layer]:
                assert owner[source] in stages[owner[layer]].sources
    assert len({(stage.row, stage.column) for stage in stages}) == len(stages)
    assert all(_is_to_the_left(stages, stage) for stage in stages)


def _is_to_the_left(stages: list[Stage], stage: Stage) -> bool:
    sources = [stages[source] for source in stage.sources if source != INPUT]
    return all(source.column < stage.column or source.row != stage.row for source in sources)


def test_repetitions_of_sequences_are_found() -> None:
    unit = "[conv]\nfilters=2\n[conv]\nfilters=4\nsize=3\npad=1\n"
    network = Network(cfg.loads("[net]\nwidth=8\nheight=8\nchannels=3\n" + unit * 3))
    assert sequence_text(fold(network)) == ["3 x [1x1 2, 3x3 4]"]


def test_the_command_writes_what_a_browser_and_a_person_can_read(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    model = str(paths.ROOT / "cfgs" / "digits.cfg")
    target = tmp_path / "digits.svg"
    assert main(["info", model, "--diagram", str(target)]) == 0
    assert target.read_text().count("<svg") == 1
    draw_diagram(load("digits"), tmp_path / "digits.png")
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    assert main(["info", model, "--diagram", str(tmp_path / "a.txt")]) == 1
    assert "a.txt: expected a diagram as .svg, .png, .pdf, got .txt" in capsys.readouterr().err


def test_a_diagram_is_as_wide_as_its_title(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("matplotlib")
    network = Network(cfg.loads("[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters=2\n"))
    draw_diagram(network, tmp_path / "a.svg", title="a" * 60)
    width = re.search(r'<svg[^>]* width="([\d.]+)pt"', (tmp_path / "a.svg").read_text())
    assert width is not None
    assert float(width[1]) > 60 * 7 > 288  # 13 point letters; a column has 288 points


def test_missing_matplotlib_is_an_error_with_the_line_to_install_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DarknetError, match="pip install 'darknet-torch"):
        draw_diagram(load("digits"), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
