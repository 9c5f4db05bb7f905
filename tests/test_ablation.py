"""YOLOv4's recipe: what the cfgs have of the paper's list, and ``benchmarks.ablation``, which takes out its parts."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks import ablation, ablation_rows
from benchmarks.ablation_rows import Edit
from benchmarks.study_results import Results, digest
from darknet_py import ConfigError, Network, cfg
from darknet_py.cfg import Config
from tests.helpers import paths

CFGS = paths.ROOT / "cfgs"
RATES = ["0.01916", "0.9", "steps", "800,900", "0.1,0.1"]  # of the baseline: 3.83 times the recipe's, 80 and 90 % of it
COLUMNS = ["yolov4", "yolov4-csp", "yolov4-paper"]  # of the page's first table
PAGE = ablation.PAGE.read_text(encoding="utf-8")


def values(config: Config, section: str, key: str) -> list[str]:
    """The values of a key in the sections of a type, without blanks; "" where it is missing."""
    sections = [part for part in config.sections if part.name == section]
    return [next((entry.value for entry in part.entries if entry.key == key), "") for part in sections]


def last(config: Config, section: str, key: str) -> str:
    return values(config, section, key)[-1]


def has_spp(config: Config) -> bool:
    return {"5", "9", "13"} <= set(values(config, "maxpool", "size")) or values(config, "maxpool", "size") == ["3", "5"]


def has_pan(config: Config) -> bool:
    """Behind the first head, a convolution halves the resolution again."""
    first = next(index for index, part in enumerate(config.sections) if part.name == "yolo")
    return "2" in values(dataclasses.replace(config, sections=config.sections[first:]), "convolutional", "stride")


def has_found_values(config: Config) -> bool:
    found = last(config, "yolo", "iou_thresh"), last(config, "yolo", "iou_normalizer")
    rate = float(values(config, "net", "learning_rate")[0])
    return found == ("0.213", "0.07") and values(config, "net", "momentum") == ["0.949"] and rate == 0.00261


# By the words of the first column of the page's table: whether a cfg has it.
LIST: dict[str, Callable[[Config], bool]] = {
    "Mosaic": lambda c: values(c, "net", "mosaic") == ["1"],
    "CutMix": lambda c: values(c, "net", "detector_cutmix") == ["1"],
    "DropBlock": lambda c: "1" in values(c, "dropout", "dropblock"),
    "class label smoothing": lambda c: last(c, "yolo", "label_smooth_eps") not in ("", "0"),
    "CIoU loss": lambda c: set(values(c, "yolo", "iou_loss")) == {"ciou"},
    "CmBN": lambda c: set(values(c, "convolutional", "batch_normalize")) == {"2", ""},
    "self-adversarial training": lambda c: values(c, "net", "adversarial_lr") not in ([""], ["0"]),
    "no grid sensitivity": lambda c: all(float(s or 1) > 1 for s in values(c, "yolo", "scale_x_y")),
    "several anchors for a target": lambda c: all(0 < float(s or 1) < 1 for s in values(c, "yolo", "iou_thresh")),
    "cosine schedule": lambda c: values(c, "net", "policy") == ["sgdr"],
    "optimal hyper-parameters": has_found_values,
    "random input sizes": lambda c: last(c, "yolo", "random") == "1",
    "Mish": lambda c: "leaky" not in values(c, "convolutional", "activation"),
    "CSP": lambda c: "shortcut" in {part.name for part in c.sections},
    "MiWRC": lambda c: set(values(c, "shortcut", "weights_type")) == {"per_feature"},
    "SPP": has_spp,
    "SAM": lambda c: len(values(c, "sam", "from")) == len(values(c, "yolo", "mask")),
    "PAN": has_pan,
    "DIoU-NMS": lambda c: last(c, "yolo", "nms_kind") == "diounms",
}


def table_of_the_page() -> dict[str, list[str]]:
    text = PAGE.partition("| paper | key |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    return {cells[0].partition(":")[0]: cells[2:] for cells in rows}


@pytest.mark.parametrize("name", COLUMNS)
def test_the_page_says_which_cfg_has_what(name: str) -> None:
    folder = CFGS if name == "yolov4-paper" else paths.require_shared() / "conformance" / "alexeyab"
    config = cfg.load(folder / f"{name}.cfg")
    said = {item: cells[COLUMNS.index(name)].startswith("yes") for item, cells in table_of_the_page().items()}
    assert said == {item: has(config) for item, has in LIST.items()}


def test_the_papers_networks_have_the_whole_list() -> None:
    digits = cfg.load(CFGS / "digits-paper.cfg")
    missing = [item for item, has in LIST.items() if not has(digits)]
    assert missing == ["optimal hyper-parameters"]  # the learning rate: the training is short
    assert not [item for item, has in LIST.items() if not has(cfg.load(CFGS / "yolov4-paper.cfg"))]


def test_the_backbone_of_yolov4_fits_into_the_papers() -> None:
    """Layer by layer, so that ``--transfer`` takes all of yolov4.conv.137; shortcuts add their own weights."""
    first, second = (Network(cfg.load(CFGS / f"{name}.cfg"))[:137] for name in ("yolov4", "yolov4-paper"))
    weighted = 0
    for layer, other in zip(first, second, strict=True):
        shapes, more = ([(name, array.shape) for name, array in part.stored()] for part in (layer, other))
        assert more == shapes or (more == [("weights", (2,))] and not shapes)
        weighted += more != shapes
    assert weighted == 23  # the residual units of Darknet-53
    floats = sum(array.numel() for layer in second for _, array in layer.stored())
    assert 20 + 4 * (floats - 2 * weighted) == 170_038_676  # bytes of yolov4.conv.137


# What a row without a part does not have any more.
TAKEN_OUT = {
    "S": "no grid sensitivity",
    "M": "Mosaic",
    "CutMix": "CutMix",
    "LS": "class label smoothing",
    "IT": "several anchors for a target",
    "CmBN": "CmBN",
    "CA": "cosine schedule",
    "SAT": "self-adversarial training",
    "RS": "random input sizes",
    "CIoU": "CIoU loss",
    "Mish": "Mish",
    "MiWRC": "MiWRC",
    "SPP": "SPP",
    "SAM": "SAM",
    "PAN": "PAN",
    "DIoU-NMS": "DIoU-NMS",
}


def rows(name: str) -> tuple[Config, dict[str, ablation_rows.Row]]:
    config = cfg.load(CFGS / f"{name}.cfg")
    return config, ablation_rows.all_rows(ablation_rows.tables(config, is_digits=name == "digits-paper"))


@pytest.mark.parametrize("name", ["digits-paper", "yolov4-paper"])
def test_a_row_lacks_one_part_of_the_list(name: str) -> None:
    config, members = rows(name)

    def parts(row: str) -> set[str]:
        changed = cfg.loads(ablation_rows.apply(config, members[row].edits))
        return {item for item, has in LIST.items() if has(changed)}

    for part, item in TAKEN_OUT.items():
        if part == "PAN" and name != "digits-paper":
            continue
        start = "recipe" if f"recipe - {part}" in members else "baseline"
        lost = parts(start) - parts(f"{start} - {part}")
        assert lost - {"optimal hyper-parameters"} == {item}, part
    dropped = cfg.loads(ablation_rows.apply(config, members["recipe - DropBlock"].edits))
    assert set(values(dropped, "dropout", "probability")) == {"0"}


def test_baseline_and_recipe_are_the_ends() -> None:
    config, members = rows("digits-paper")
    assert ablation_rows.apply(config, members["recipe"].edits) == config.text
    baseline = cfg.loads(ablation_rows.apply(config, members["baseline"].edits))
    left = {item for item, has in LIST.items() if has(baseline)}
    assert left == {"DropBlock", "Mish", "CSP", "MiWRC", "SPP", "SAM", "PAN", "DIoU-NMS"}  # DropBlock: of probability 0
    keys = ("learning_rate", "momentum", "policy", "steps", "scales")
    assert [values(baseline, "net", key)[0] for key in keys] == RATES
    one_more = cfg.loads(ablation_rows.apply(config, members["baseline + M"].edits))
    differing = [a for a, b in zip(baseline.text.split("\n"), one_more.text.split("\n"), strict=True) if a != b]
    assert differing == ["mosaic=0"]


@pytest.mark.filterwarnings("error")
def test_what_is_left_of_the_network_is_all_read() -> None:
    config = cfg.load(ablation.DIGITS)
    for row in ablation_rows.tables(config, is_digits=True)["specials"]:
        network = Network(cfg.loads(ablation_rows.apply(config, row.edits)), strict=True)
        read = {source for sources in network.sources for source in sources}
        assert {i for i, layer in enumerate(network) if layer not in network.heads} <= read, row.name


def test_a_cfg_without_the_part_is_refused() -> None:
    config = cfg.load(CFGS / "yolov4.cfg")
    with pytest.raises(ConfigError, match=re.escape("yolov4.cfg: [dropout] probability: not in this cfg")):
        ablation_rows.apply(config, [Edit("dropout", "probability", "0")])
    with pytest.raises(ConfigError, match=re.escape("[convolutional] batch_normalize=2: not in this cfg")):
        ablation_rows.apply(config, [Edit("convolutional", "batch_normalize", "1", old="2")])


def test_a_quick_run_trains_and_scores_a_row_once(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools", reason="the extra eval is not installed")
    arguments = ["specials", "--quick", "--only", "baseline - SAM", "-o", str(tmp_path)]
    assert ablation.main(arguments) == 0
    assert "baseline - SAM, seed 0 (1 of 1): AP 0.00, " in capsys.readouterr().err
    entries: dict[str, Any] = json.loads((tmp_path / "ablation.json").read_text())
    assert {key: list(values) for key, values in entries["baseline - SAM"].items() if key != "cfg"} == {
        "AP50": ["0"], "AP75": ["0"], "scores": ["0"], "seconds": ["0"],
    }  # fmt: skip
    ablation.main(arguments)
    printed = capsys.readouterr()
    assert printed.err == ""  # nothing was missing
    assert "| baseline - SAM | 0.00 |  | 0.00 | 0.00 | 1 |" in printed.out
    assert "| baseline - Mish |  |  |  |  | 0 |" in printed.out


def test_a_run_that_fails_is_named_and_the_others_go_on(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []

    def train(run: ablation.Run, data: pathlib.Path, seed: int, label: str, args: Any) -> dict[str, float]:
        made.append(run.row.name)
        if len(made) == 1:
            raise ConfigError("the loss is NaN")
        return dict.fromkeys(ablation.METRICS, 0.25)

    monkeypatch.setattr(ablation, "train", train)
    monkeypatch.setattr(ablation, "digits", lambda folder, *, is_quick: folder)
    arguments = ["specials", "--quick", "--only", "baseline", "baseline - SPP", "-o", str(tmp_path)]
    assert ablation.main(arguments) == 1
    assert "baseline, seed 0 (1 of 2): the loss is NaN" in capsys.readouterr().err
    assert ablation.main(arguments) == 0
    assert made == ["baseline", "baseline - SPP", "baseline"]
    assert (tmp_path / "ablation-specials.png").stat().st_size > 1000


def test_means_and_changes_seed_by_seed() -> None:
    chosen = [ablation_rows.Row("a", ()), ablation_rows.Row("b", ()), ablation_rows.Row("c", ())]
    entries = {
        "a": {"scores": {"0": 0.10, "1": 0.20}, "AP50": {"0": 0.3, "1": 0.3}, "AP75": {"0": 0.1, "1": 0.1}},
        "b": {"scores": {"1": 0.24, "2": 0.9}, "AP50": {"1": 0.5, "2": 0.5}, "AP75": {"1": 0.2, "2": 0.2}},
    }
    lines = ablation.table(chosen, entries).splitlines()
    assert lines[2] == "| a | 15.00 ± 7.07 |  | 30.00 ± 0.00 | 10.00 ± 0.00 | 2 |"
    assert lines[3] == "| b | 57.00 ± 46.67 | +4.00 | 50.00 ± 0.00 | 20.00 ± 0.00 | 2 |"
    assert lines[4] == "| c |  |  |  |  | 0 |"


@pytest.mark.parametrize("arguments", [["--quick"], ["--set", "max_batches=9"], ["--cfg", "cfgs/yolov4-paper.cfg"]])
def test_other_runs_do_not_get_into_the_documentation(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ablation.main(arguments)
    assert "need -o" in capsys.readouterr().err


def test_the_page_has_the_tables_of_the_results() -> None:
    entries = Results(paths.ROOT / "docs" / "ablation.json").read()
    config = cfg.load(ablation.DIGITS)
    for name, members in ablation_rows.tables(config, is_digits=True).items():
        text = ablation.table(members, entries)
        assert f"<!-- table: {name} -->\n\n{text}\n\n<!-- end of table -->\n" in PAGE


def test_the_results_are_of_the_cfg_as_it_is(tmp_path: pathlib.Path) -> None:
    """A changed cfg needs its runs again: the command of docs/yolov4-recipe.md makes them."""
    entries = Results(paths.ROOT / "docs" / "ablation.json").read()
    config, members = rows("digits-paper")
    runs = [ablation.write_cfgs(config, members[name], tmp_path / name) for name in entries]
    assert not [run.row.name for run in runs if entries[run.row.name]["cfg"] != digest(run.hashed)]
