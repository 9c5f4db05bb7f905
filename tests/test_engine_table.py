"""``tools.engine_table``: its results are kept and continued, and the page has its table."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib

import pytest

from darknet_py.errors import DarknetError
from darknet_py.inference import engines
from tests.helpers import paths, reference_boxes
from tests.helpers.reference_boxes import Comparison
from tools import engine_table


@dataclasses.dataclass
class Networks:
    """Cases whose comparison is noted instead of made; ``refused`` and ``stopped`` are engines."""

    folder: pathlib.Path
    refused: str = ""
    stopped: str = ""
    calls: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def case(self, name: str) -> engine_table.Case:
        cfg = self.folder / f"{name}.cfg"
        if not cfg.exists():
            cfg.write_text(name)

        def compare(engine: str) -> Comparison:
            if engine == self.stopped:
                raise KeyboardInterrupt
            self.calls.append((name, engine))
            if engine == self.refused:
                raise DarknetError(f"engine {engine}: {cfg}: not {name}")
            return Comparison(3, 1.23456e-6, [], [[0.0]] if name == "b" else [])

        return engine_table.Case(f"alexeyab/{name}", cfg, 1, lambda: compare)

    def measure(self, *names: str, end: float = math.inf) -> engine_table.Figures:
        file = self.folder / "engines.json"
        figures: engine_table.Figures = json.loads(file.read_text()) if file.exists() else {}
        engine_table.measure([self.case(name) for name in names], figures, file, end)
        found: engine_table.Figures = json.loads(file.read_text()) if file.exists() else {}
        return found


@pytest.fixture
def networks(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Networks:
    monkeypatch.setattr(engines, "is_installed", lambda name: name in ("torch", "graph", "ncnn"))
    return Networks(tmp_path)


def test_each_result_is_kept_and_not_measured_again(networks: Networks) -> None:
    networks.stopped = "ncnn"
    with pytest.raises(KeyboardInterrupt):
        networks.measure("a", "b")
    networks.stopped = ""
    figures = networks.measure("a", "b")
    assert networks.calls == [(name, engine) for name in "ab" for engine in ("torch", "graph", "ncnn")]
    assert figures["alexeyab/a"]["engines"]["ncnn"] == {"boxes": 3, "largest": 1.23e-6, "wrong": 0}
    assert figures["alexeyab/b"]["engines"]["ncnn"]["wrong"] == 1


def test_a_changed_cfg_is_measured_again(networks: Networks) -> None:
    networks.measure("a", "b")
    networks.calls.clear()
    (networks.folder / "a.cfg").write_text("changed")
    networks.measure("a", "b")
    assert networks.calls == [("a", "torch"), ("a", "graph"), ("a", "ncnn")]


def test_nothing_starts_after_the_end(networks: Networks) -> None:
    assert networks.measure("a", end=0) == {}
    assert networks.calls == []


def test_the_table_tells_what_is_not_cs(networks: Networks) -> None:
    networks.refused = "graph"
    lines = engine_table.table(networks.measure("a", "b"))
    words = engine_table.SETS["alexeyab"]
    assert f"| {words} | torch | 1 of 2 | 0 | 3 | 1.2e-06 |" in lines
    assert f"| {words} | graph | 0 of 2 | 2 | 0 | |" in lines
    assert f"| {words} | onnxruntime | 0 of 0 | 0 | 0 | |" in lines
    assert "* `a` in graph: refused, not a." in lines  # without the path of the cfg
    assert "* `b` in torch, ncnn: 1 boxes differ." in lines


def test_the_page_has_the_table_of_the_figures() -> None:
    figures = json.loads(engine_table.FIGURES.read_text(encoding="utf-8"))
    page = engine_table.PAGE.read_text(encoding="utf-8")
    assert "\n".join(engine_table.table(figures)) in page
    names = [f"{key}/" for key in engine_table.SETS]
    assert all(any(name.startswith(key) for key in names) for name in figures)


@paths.needs_shared
def test_the_figures_are_those_of_the_cfgs() -> None:
    """A changed cfg needs its measurements again: the command of docs/performance.md makes them."""
    figures = json.loads(engine_table.FIGURES.read_text(encoding="utf-8"))
    cases = engine_table.cases()
    digests = {case.name: hashlib.sha256(case.cfg.read_bytes()).hexdigest()[:16] for case in cases}
    assert {name: entry["cfg"] for name, entry in figures.items()}.items() <= digests.items()
    counts = {key: sum(name.startswith(f"{key}/") for name in digests) for key in engine_table.SETS}
    assert counts == engine_table.TOTALS
    assert [case.parameters for case in cases] == sorted(case.parameters for case in cases)


def test_boxes_match_by_class_score_and_place() -> None:
    row = [1.0, 0.5, 0.2, 0.3, 0.1, 0.1]
    for index, difference in enumerate((0.0, 1.9e-3, 1.9e-3, -1.9e-3, 1.9e-3, -1.9e-3)):
        near = [value + difference * (k == index) for k, value in enumerate(row)]
        compared = reference_boxes.match(reference_boxes.as_rows([row]), reference_boxes.as_rows([near]))
        assert compared.missing == []
        assert compared.largest == pytest.approx(abs(difference))
    for index in range(6):
        far = [value + 2.1e-3 * (k == index) for k, value in enumerate(row)]
        compared = reference_boxes.match(reference_boxes.as_rows([row]), reference_boxes.as_rows([far]))
        assert compared.missing == [row]
    assert reference_boxes.match(reference_boxes.as_rows([row]), reference_boxes.as_rows([])).missing == [row]


def test_large_boxes_are_compared_relative_to_themselves() -> None:
    large, near = [0.0, 0.5, 0.5, 0.5, 10.0, 1.0], [0.0, 0.5, 0.5, 0.5, 10.019, 1.0]
    rows, preds = reference_boxes.as_rows([large]), reference_boxes.as_rows([near])
    assert reference_boxes.match(rows, preds, scaled=True).missing == []
    assert reference_boxes.match(rows, preds).missing == [large]
