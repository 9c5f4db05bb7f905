"""``benchmarks.study``: which runs it makes, what it keeps, and that the page has its tables."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from benchmarks import study, study_results
from darknet_py import Network

EACH = pytest.mark.parametrize("name", sorted(study.STUDIES))


@EACH
def test_the_page_has_the_table_of_the_results(name: str) -> None:
    results = study_results.Results(study_results.ROOT / "docs" / f"{name}.json").read()
    text = study_results.table(study.STUDIES[name][0], results)
    page = study.PAGE.read_text(encoding="utf-8")
    assert f"<!-- table: {name} -->\n\n{text}\n\n<!-- end of table -->\n" in page


@EACH
def test_the_results_are_of_the_cfgs_as_they_are(name: str) -> None:
    """A changed cfg needs its runs again: the command of docs/architectures.md makes them."""
    chosen = study.STUDIES[name][0]
    results = study_results.Results(study_results.ROOT / "docs" / f"{name}.json").read()
    outdated = [
        network
        for network, entry in results.items()
        if entry.get("scores") and entry["cfg"] != study_results.digest(chosen.path(network))
    ]
    assert not outdated


@EACH
def test_every_cfg_of_the_folder_is_in_the_study(name: str) -> None:
    chosen = study.STUDIES[name][0]
    folder = study_results.ROOT / "cfgs" / name
    assert sorted(chosen.networks) == sorted(path.stem for path in folder.glob("*.cfg"))


def test_a_run_is_kept_and_made_once(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[tuple[str, int]] = []

    def score(network: Network, data: pathlib.Path | None, seed: int, progress: study.Progress) -> float:
        progress(100, 1.5)
        made.append((progress.label.partition(",")[0], seed))
        return 0.5 + 0.01 * seed

    monkeypatch.setitem(study.STUDIES, "csp", (study.CSP, score))
    arguments = ["csp", "-o", str(tmp_path), "--only", "dense", "partial", "--seeds", "0"]
    study.main(arguments)
    assert made == [("csp/dense", 0), ("csp/partial", 0)]
    study.main([*arguments, "2"])  # one seed more
    assert made[2:] == [("csp/dense", 2), ("csp/partial", 2)]
    study.main([*arguments, "2"])
    assert len(made) == 4
    printed = capsys.readouterr()
    assert "csp/partial, seed 2 (2 of 2): iteration 100, loss 1.500" in printed.err
    row = printed.out.splitlines()[-3]
    assert row.startswith("| `partial` | 54,148 (-9.3 %) | 0.0162 (-8.8 %) |")
    assert row.endswith("| 51.00 ± 1.41 | 2 |")
    assert (tmp_path / "csp.png").stat().st_size > 1000

    file = tmp_path / "csp.json"
    entries: dict[str, Any] = json.loads(file.read_text())
    entries["dense"]["cfg"] = "another"
    file.write_text(json.dumps(entries))
    study.main(arguments)
    assert made[4:] == [("csp/dense", 0)]
    assert list(json.loads(file.read_text())["dense"]["scores"]) == ["0"]  # that of the other cfg is gone


def test_a_hash_ignores_comments_only(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.cfg"
    hashes = []
    for text in ("[net]\nwidth=4\n", "# a comment\n[net]\n\nwidth=4\n", "[net]\nwidth=8\n"):
        path.write_text(text)
        hashes.append(study_results.digest(path))
    assert hashes[0] == hashes[1] != hashes[2]


def test_quick_scores_do_not_get_into_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        study.main(["csp", "--quick"])
    assert "--quick: needs -o" in capsys.readouterr().err


@EACH
def test_a_quick_run_trains_and_scores(name: str, tmp_path: pathlib.Path) -> None:
    network = {"csp": "fusion-last", "necks": "none"}[name]
    study.main([name, "--quick", "--only", network, "-o", str(tmp_path)])
    entry = json.loads((tmp_path / f"{name}.json").read_text())[network]
    assert 0 <= entry["scores"]["0"] <= 1
