"""A run's options are part of its state: what was given holds when it is resumed, and what is changed is said."""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

import pytest
import torch

import darknet_py
from darknet_py import Trainer, TrainOptions, cli
from darknet_py.errors import ConfigError
from darknet_py.training import checkpoints, resume
from darknet_py.training.recipe import format_changes
from tests.helpers import synthetic_data


@pytest.fixture
def cfg(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "cfg"
    folder.mkdir()
    return synthetic_data.cfg(folder, max_batches=4, burn_in=0)


def train(cfg: pathlib.Path, data: pathlib.Path, output: pathlib.Path, *words: str, expected: int = 0) -> None:
    line = ["train", str(data), str(cfg), "--output", str(output), "--device", "cpu", "--workers", "0", *words]
    assert cli.main(line) == expected


def state(output: pathlib.Path) -> checkpoints.TrainingState:
    return checkpoints.read_state(output / "tiny_last.state.pt")


QUIET = ("--no-map", "--chart", "")


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (("--freeze", "2"), "freeze", 2),
        (("--gradients", "autograd"), "gradients", "autograd"),
        (("--amp", "bf16"), "amp", "bf16"),
        (("--patience", "7"), "patience", 7),
        (("--map-every", "3"), "map_every", 3),
        (("--save-every", "3"), "save_every", 3),
        (("--save-last", "2"), "save_last", 2),
        (("--channels-last",), "channels_last", True),
        (("--gradient-checkpointing",), "gradient_checkpointing", True),
        (("--sync-bn",), "sync_bn", True),
        (("--imgsz", "96", "64"), "size", [96, 64]),
        (("--set", "momentum=0.8", "--set", "saturation=1.3"), "values", {"momentum": "0.8", "saturation": "1.3"}),
        (("--dialect", "pjreddie"), "dialect", "pjreddie"),
        (("--seed", "5"), "seed", 5),
    ],
)
def test_what_was_given_holds(
    words: tuple[str, ...], key: str, value: Any, cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    data = rectangles / "tiny.data"
    cfg.write_text(cfg.read_text().replace("max_batches=4", "max_batches=1"))
    train(cfg, data, tmp_path / "out", *QUIET, *words)
    assert state(tmp_path / "out").recipe[key] == value
    cfg.write_text(cfg.read_text().replace("max_batches=1", "max_batches=2"))
    train(cfg, data, tmp_path / "out", "--resume")
    resumed = state(tmp_path / "out")
    assert resumed.iteration == 2
    assert resumed.recipe[key] == value
    assert not resumed.recipe["validate"]
    assert not list((tmp_path / "out").glob("*.png"))
    whole = (*QUIET, *words)
    train(cfg, data, tmp_path / "whole", *whole)
    for name, tensor in state(tmp_path / "whole").network.items():
        assert torch.equal(resumed.network[name], tensor), name


def test_what_the_command_line_changes_is_said(
    cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = rectangles / "tiny.data"
    train(cfg, data, tmp_path, *QUIET, "--freeze", "2", "--amp", "bf16", "--set", "max_batches=2", "--set", "hue=.1")
    capsys.readouterr()
    more = ("--freeze", "0", "--amp", "off", "--set", "max_batches=3")
    train(cfg, data, tmp_path, "--resume", *more)
    said = capsys.readouterr().err
    assert "at iteration 2; changed: freeze 2 -> 0, amp bf16 -> none, [net] max_batches 2 -> 3\n" in said
    recipe = state(tmp_path).recipe
    assert (recipe["freeze"], recipe["amp"]) == (0, None)
    assert recipe["values"] == {"max_batches": "3", "hue": ".1"}
    assert state(tmp_path).iteration == 3


def test_other_images_and_another_cfg_are_said(
    cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "tiny.data"
    lines = (rectangles / "train.txt").read_text().splitlines()
    (tmp_path / "train.txt").write_text("\n".join(lines))
    data.write_text(f"classes=2\ntrain={tmp_path / 'train.txt'}\n")
    train(cfg, data, tmp_path / "out", *QUIET, "--set", "max_batches=1")
    (tmp_path / "train.txt").write_text("\n".join(lines[:30]))
    cfg.write_text(cfg.read_text().replace("ignore_thresh=.7", "ignore_thresh=.6"))
    capsys.readouterr()
    train(cfg, data, tmp_path / "out", "--resume", "--set", "max_batches=2")
    assert (
        "changed: images 40 -> 30, [net] max_batches 1 -> 2, layer 4 [yolo] ignore_thresh .7 -> .6\n"
        in capsys.readouterr().err
    )


def test_an_unchanged_run_says_nothing(
    cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = rectangles / "tiny.data"
    train(cfg, data, tmp_path / "out", *QUIET, "--save-last", "1", "--set", "max_batches=2")
    first = tmp_path / "out" / "tiny_last.state.pt"
    content = torch.load(first, weights_only=True)
    content["trainer"]["iteration"] = 1  # as if it had been stopped there
    torch.save(content, first)
    capsys.readouterr()
    train(cfg, data, tmp_path / "out", "--resume")
    said = capsys.readouterr().err
    assert f"resuming from {first} at iteration 1\n" in said
    assert "changed:" not in said
    train(cfg, data, tmp_path / "out", "--resume", expected=1)
    assert "nothing is left to train" in capsys.readouterr().err


def test_in_python_the_options_that_are_given_count(
    cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(max_batches: int, gradients: str | None = None, **options: Any) -> Trainer:
        network = resume.build_network(cfg, values={"max_batches": str(max_batches)}, seed=1)
        given: dict[str, Any] = {"output": tmp_path, "workers": 0, **options}
        trainer = Trainer(network, rectangles / "tiny.data", TrainOptions(**given), gradients=gradients)
        trainer.run()
        return trainer

    run(1, "autograd", freeze=2, chart="", validate=False)
    second = run(2, resume=True)
    assert (second.options.freeze, second.gradients, second.options.validate) == (2, "autograd", False)
    assert torch.equal(
        second.network.get_parameter("layers.0.weights"),
        resume.build_network(cfg, seed=1).get_parameter("layers.0.weights"),
    )
    capsys.readouterr()
    third = run(3, "darknet", resume=True, freeze=0)
    assert (third.options.freeze, third.gradients) == (0, "darknet")
    assert "changed: gradients autograd -> darknet, freeze 2 -> 0, [net] max_batches 2 -> 3" in capsys.readouterr().err
    assert not torch.equal(
        third.network.get_parameter("layers.0.weights"), second.network.get_parameter("layers.0.weights")
    )


def test_cfg_names_and_arguments_are_written_beside_the_weights(
    cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    out = tmp_path / "out"
    train(cfg, rectangles / "tiny.data", out, *QUIET, "--set", "max_batches=1", "--imgsz", "96", "64", "--freeze", "1")
    network = darknet_py.load(out / "tiny.cfg", out / "tiny_final.weights")
    assert network.shape == (3, 64, 96)
    assert network.options.max_batches == 1
    assert (out / "tiny.names").read_text() == "red\nblue\n"
    arguments = json.loads((out / "tiny_args.json").read_text())
    expected = {"data": str(rectangles / "tiny.data"), "cfg": str(cfg), "size": [96, 64], "freeze": 1, "images": 40}
    assert expected.items() <= arguments.items()
    assert arguments["values"] == {"max_batches": "1"}
    # The cfg as trained can be trained on; it is rewritten.
    train(out / "tiny.cfg", rectangles / "tiny.data", out, "--resume", "--set", "max_batches=2")
    assert darknet_py.load(out / "tiny.cfg").options.max_batches == 2


def test_files_of_the_user_are_kept(cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path) -> None:
    """The cfg and the names lie in the output folder."""
    source = shutil.copy(cfg, tmp_path)
    (tmp_path / "tiny.names").write_text("others\n")
    text = pathlib.Path(source).read_text()
    train(pathlib.Path(source), rectangles / "tiny.data", tmp_path, *QUIET, "--set", "max_batches=1")
    assert pathlib.Path(source).read_text() == text
    assert (tmp_path / "tiny.names").read_text() == "others\n"
    assert darknet_py.load(tmp_path / "tiny_trained.cfg").options.max_batches == 1
    assert (tmp_path / "tiny_trained.names").read_text() == "red\nblue\n"


def test_names_of_the_user_are_kept_beside_a_new_cfg(
    cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path
) -> None:
    (tmp_path / "tiny.names").write_text("others\n")
    for _ in range(2):
        train(cfg, rectangles / "tiny.data", tmp_path, *QUIET, "--set", "max_batches=1")
        assert (tmp_path / "tiny.names").read_text() == "others\n"
        assert (tmp_path / "tiny_trained.names").read_text() == "red\nblue\n"


@pytest.mark.parametrize("pair", ["max_batchs=10", "bach=8", "learning-rate=.1", "saturations=1"])
def test_an_unknown_option_is_an_error(
    pair: str, cfg: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(cfg, tmp_path / "none.data", tmp_path, "--set", pair, expected=1)
    said = capsys.readouterr().err
    assert f"[net] has no option {pair.partition('=')[0]!r}" in said
    assert "did you mean" in said
    assert not (tmp_path / "tiny_args.json").exists()


@pytest.mark.parametrize("recipe", [{"freeze": "x"}, {"amp": 3}, {"gradients": "none"}, {"values": 3}, {"size": 3}])
def test_a_damaged_recipe_is_an_error(
    recipe: dict[str, Any],
    cfg: pathlib.Path,
    tmp_path: pathlib.Path,
    rectangles: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = rectangles / "tiny.data"
    train(cfg, data, tmp_path, *QUIET, "--set", "max_batches=1")
    path = tmp_path / "tiny_last.state.pt"
    content = torch.load(path, weights_only=True)
    content["recipe"] |= recipe
    torch.save(content, path)
    train(cfg, data, tmp_path, "--resume", "--set", "max_batches=2", expected=1)
    assert "tiny_last.state.pt" in capsys.readouterr().err


def test_a_network_of_another_size_is_named_in_python(
    cfg: pathlib.Path, tmp_path: pathlib.Path, rectangles: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"output": tmp_path, "workers": 0}
    first = resume.build_network(cfg, values={"max_batches": "1"}, size=(96, 64))
    Trainer(first, rectangles / "tiny.data", TrainOptions(**options, chart="", validate=False)).run()
    capsys.readouterr()
    second = resume.build_network(cfg, values={"max_batches": "2"})
    Trainer(second, rectangles / "tiny.data", TrainOptions(**options, resume=True)).run()
    assert "changed: size [96, 64] -> none" in capsys.readouterr().err


def test_of_many_changes_the_first_are_named() -> None:
    named = ", ".join(f"a{number} 1 -> 2" for number in range(12))
    assert format_changes([f"a{number} 1 -> 2" for number in range(12)]) == f"; changed: {named}"
    assert format_changes([f"a{number} 1 -> 2" for number in range(15)]) == f"; changed: {named} and 3 more"
    assert format_changes([]) == ""


def test_options_that_are_given_are_known() -> None:
    recipe = TrainOptions(freeze=3, amp=torch.bfloat16, patience=2).recipe
    assert (recipe["freeze"], recipe["amp"], recipe["patience"]) == (3, "bf16", 2)
    resumed = TrainOptions(freeze=0, output="b").resumed({**recipe, "unknown": 1})
    assert (resumed.freeze, resumed.amp, resumed.patience, resumed.output) == (0, "bf16", 2, "b")
    with pytest.raises(ConfigError, match="amp"):
        _ = TrainOptions().resumed({"amp": 3}).amp_dtype
