"""``darknet-py prune``: the tables, the files, the chart, and the errors."""

from __future__ import annotations

import json
import pathlib

import pytest
from PIL import Image

from darknet_py import loading, weights
from darknet_py.cli import main
from darknet_py.evaluation.evaluator import evaluate
from tests.helpers import noise_dataset, paths

DIGITS = [str(paths.CFGS / "digits.cfg"), str(paths.CFGS / "digits.weights")]


def test_the_pair_the_tables_and_the_chart(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    out = tmp_path / "out"
    chart = tmp_path / "scales.png"
    assert main(["prune", *DIGITS, "--ratio", "0.5", "-o", str(out), "--chart", str(chart)]) == 0
    captured = capsys.readouterr()
    lines = [line.split() for line in captured.out.splitlines()]
    network = loading.load(out / "digits-pruned.cfg", out / "digits-pruned.weights")
    original = loading.load(*DIGITS)
    assert captured.err.splitlines() == [str(out / "digits-pruned.cfg"), str(out / "digits-pruned.weights")]
    assert lines[0] == ["layer", "section", "channels", "kept"]
    assert lines[1][:4] == ["0", "convolutional", "16", str(network[0].shape.channels)]
    costs = {line[0]: line[1:] for line in lines if line}
    floats = [sum(tensor.numel() for layer in net for _, tensor in layer.stored()) for net in (original, network)]
    assert costs["parameters"][:2] == [f"{count:,}" for count in floats]
    assert costs["BFLOPS"][:2] == [f"{original.flops / 1e9:.3f}", f"{network.flops / 1e9:.3f}"]
    assert costs["bytes"][1] == f"{(out / 'digits-pruned.weights').stat().st_size:,}"
    with Image.open(chart) as image:
        assert image.width > 500


def test_json_with_map(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = noise_dataset.detector(tmp_path)
    weights.save(network, tmp_path / "tiny.weights")
    data = noise_dataset.images(tmp_path) / "my.data"
    line = ["prune", str(tmp_path / "tiny.cfg"), str(tmp_path / "tiny.weights"), "--score", "l1", "--ratio", "0.4"]
    line += ["--min-channels", "1", "--data", str(data), "--quiet", "--json", "-", "-o", str(tmp_path)]
    assert main(line) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["before"]["map"] == evaluate(network, data, progress=False).map
    pruned = loading.load(tmp_path / "tiny-pruned.cfg", tmp_path / "tiny-pruned.weights")
    assert report["after"]["map"] == evaluate(pruned, data, progress=False).map
    assert report["after"]["bytes"] == (tmp_path / "tiny-pruned.weights").stat().st_size
    assert [row["after"] for row in report["layers"]] == [
        layer.shape.channels for layer in pruned if next(layer.stored(), None)
    ]
    assert report["after"]["ms"] > 0
    assert report["units"] == []


def test_errors_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    assert main(["prune", *DIGITS, "-o", str(tmp_path / "a")]) == 1
    expected = "darknet-py: nothing to remove: expected a ratio above 0, or a number of layers"
    assert capsys.readouterr().err.splitlines() == [expected]
    assert not (tmp_path / "a").exists()
