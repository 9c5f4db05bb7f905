"""Help and tables fit a terminal of 80 columns; arguments that were swapped or forgotten are recognised."""

from __future__ import annotations

import pathlib

import pytest

from darknet_py import cli
from darknet_py.commands import _darknet
from tests.commands.test_cli import model

__all__ = ["model"]  # a fixture


def width(text: str) -> int:
    return max(map(len, text.splitlines()))


@pytest.mark.parametrize(
    "verb", ["", *sorted(cli.verbs()), *sorted(_darknet.commands()), *sorted(_darknet.functions())]
)
def test_help_fits_80_columns(verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main([*verb.split(), "--help"]) == 0
    assert width(capsys.readouterr().out) <= 80


@pytest.fixture
def dataset(model: tuple[str, str]) -> tuple[str, str]:
    """``model``, and a list of two images with labels for ``v.data``; the name of a class is a long one."""
    pathlib.Path("list.txt").write_text("a.png\nb.png\n")
    for name in "ab":
        pathlib.Path(f"{name}.txt").write_text("1 0.5 0.5 0.25 0.25\n")
    pathlib.Path("long.names").write_text("cat\nnational park information sign\n")
    pathlib.Path("v.data").write_text("classes=2\nnames=long.names\nvalid=list.txt\ntrain=list.txt\n")
    return model


@pytest.mark.parametrize(
    "line",
    [
        "info yolov4",
        "info yolov4 --imgsz 1216 1216 --receptive-field",
        "check tiny.cfg tiny.weights",
        "check v.data --per-class",
        "check v.data tiny.cfg",
        "evaluate tiny.cfg tiny.weights v.data",
        "compare tiny.cfg,tiny.weights tiny.cfg,tiny.weights --image a.png",
        "benchmark tiny.cfg --no-runtimes --repeats 1",
        "fetch --list",
    ],
)
def test_tables_fit_80_columns(
    dataset: tuple[str, str],
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del dataset
    monkeypatch.setenv("DARKNET_PY_HOME", "cache")
    monkeypatch.setattr("darknet_py.inference.benchmark.measure_peaks", lambda *_args, **_kwargs: {"copy": 1.0})
    assert cli.main(line.split()) in (0, 1)
    assert width(capsys.readouterr().out) <= 80


def test_check_notes_a_training_that_is_far_too_long(
    dataset: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = pathlib.Path(dataset[0])
    cfg.write_text(cfg.read_text().replace("channels=3\n", "channels=3\nbatch=64\nmax_batches=2000200\n"))
    assert cli.main(["check", "v.data", str(cfg)]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note ")]
    assert notes[-1].startswith(
        "note   tiny.cfg: max_batches=2000200: 64,006,400 epochs of 2 images; for 2 classes 6000"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("export W C", "W: expected a cfg as MODEL, found weights; did you mean: darknet-py export C W"),
        ("detect W C a.png", "W: expected a cfg as MODEL, found weights; did you mean: darknet-py detect C W a.png"),
        (
            "detect a.png C W",
            "a.png: expected a cfg as MODEL, found an image or video; did you mean: darknet-py detect C W",
        ),
        ("detect C a.png", "a.png: expected weights as WEIGHTS, found an image or video"),
        ("detect C tiny.data a.png", "tiny.data: expected weights as WEIGHTS, found a data set"),
        ("detect tiny.names W a.png", "tiny.names: expected a cfg as MODEL, found class names"),
        ("info W", "W: expected a cfg as MODEL, found weights"),
        (
            "check C tiny.data",
            "tiny.data: expected weights or a cfg as WEIGHTS, found a data set; did you mean: darknet-py check",
        ),
        ("evaluate tiny.data C W", "did you mean: darknet-py evaluate C W tiny.data"),
        ("train C tiny.data", "did you mean: darknet-py train tiny.data C"),
        ("train tiny.data tiny.conv.1", "tiny.conv.1: expected a cfg as MODEL, found weights"),
        ("partial W C out.weights 1", "did you mean: darknet-py partial C W out.weights 1"),
        ("classify W C a.png", "did you mean: darknet-py classify C W a.png"),
        ("detector test C W a.png", "W: expected a data set as DATA, found weights"),
        ("detector test tiny.data C a.png", "a.png: expected weights as WEIGHTS, found an image or video"),
        ("detector test tiny.data a.png C W", "did you mean: darknet-py detector test tiny.data C W a.png"),
        ("detector train tiny.data W", "W: expected a cfg as CFG, found weights"),
        ("rescale W C out.weights", "did you mean: darknet-py rescale C W out.weights"),
        ("average W C out.weights", "did you mean: darknet-py average C W out.weights"),
    ],
)
def test_swapped_and_forgotten_files_are_recognised(
    model: tuple[str, str], line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"C": model[0], "W": model[1]}
    contents = pathlib.Path(model[1]).read_bytes()
    assert cli.main([files.get(word, word) for word in line.split()]) == 1
    expected = " ".join(
        files.get(word.rstrip(":"), word.rstrip(":")) + ":" * word.endswith(":") for word in message.split()
    )
    assert expected in capsys.readouterr().err
    assert pathlib.Path(model[1]).read_bytes() == contents


def test_a_folder_or_an_unknown_suffix_is_not_taken_for_another_file(
    model: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    cfg, weights = model
    pathlib.Path("photos.cfg").mkdir()
    pathlib.Path("a.png").rename("photos.cfg/a.png")
    pathlib.Path(weights).rename("tiny_last.backup")
    assert cli.main(["detect", cfg, "tiny_last.backup", "photos.cfg"]) == 0
    assert "1 detection" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a.onnx", ", found an exported file, which this command does not read"),
        ("a.bin", "the weights of a.param: expected that file"),
        (".", ", found a folder"),
        ("v2.cfg", "expected WEIGHTS after it"),
    ],
)
def test_a_model_that_is_no_cfg_is_said_to_be_none(
    model: tuple[str, str], given: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pathlib.Path("v2.cfg").write_bytes(pathlib.Path(model[0]).read_bytes())
    for name in ("a.onnx", "a.bin", "a.param"):
        pathlib.Path(name).touch()
    assert cli.main(["report", given]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"darknet-py: {given}: ")
    assert message in err
