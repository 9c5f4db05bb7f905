"""Darknet's command lines: every line of the forks' documentation and sources is understood, and does what C does."""

from __future__ import annotations

import io
import pathlib
import re
import shutil
import sys

import pytest

import darknet_py as dk
from darknet_py import cli
from darknet_py.commands import _darknet
from darknet_py.commands._darknet.arguments import split_line
from darknet_py.commands._darknet.flags import COMMON, FLAGS, find_flag
from darknet_py.commands._darknet.unsupported import ANSWERS
from tests.commands.test_cli import model

__all__ = ["model"]  # a fixture

LINES = [
    line.partition("\t")[2] for line in (pathlib.Path(__file__).parent / "darknet_lines.txt").read_text().splitlines()
]


OWN = ("-max_pixels", "-plugin")  # flags of this package


def split(line: str) -> list[str]:
    """The words of a line, without the redirection of stdin."""
    return line.partition(" < ")[0].split()


@pytest.mark.parametrize("line", sorted({*LINES}))
def test_every_line_of_the_forks_is_understood(line: str) -> None:
    words = split(line)
    parsed = split_line(words)
    assert not parsed.unknown
    if _darknet.is_darknets(parsed, words):
        function, arguments = _darknet.understand(parsed)
        unused = [flag for flag in parsed.values if flag.name not in (*function.flags, *COMMON, "-dont_show")]
        assert len(unused) == sum("has no effect" in note for note in arguments.notes)
    else:
        cli.build_parser().parse_args(words)


def test_the_forks_lines_are_many_and_name_every_flag_and_function() -> None:
    assert len({*LINES}) >= 250
    lines = [split_line(split(line)) for line in LINES]
    assert {flag for line in lines for flag in line.values} == {find_flag(name) for name in FLAGS if name not in OWN}
    named = {" ".join(line.words[:2]) for line in lines} | {line.words[0] for line in lines}
    assert set(_darknet.functions()) - named == {"attention", "instance-segmenter", "swag"}


def run(line: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    status = cli.main(line)
    streams = capsys.readouterr()
    return status, streams.out, streams.err


@pytest.mark.parametrize(
    "line",
    [
        "detector test tiny.data tiny.cfg tiny.weights -thresh .2 a.png",
        "detector test tiny.data tiny.cfg tiny.weights -ext_output a.png",
        "detector test tiny.data tiny.cfg tiny.weights a.png -clear 1 -map 0.1",
        "-i 0 detector test tiny.data tiny.cfg tiny.weights a.png",
        "detector -dont_show test tiny.data tiny.cfg tiny.weights a.png extra words",
        "detector test tiny.data tiny.cfg tiny.weights a.png -iou_thresh .5",
        "detector test --dont-show --verbose tiny.cfg tiny.data tiny.weights a.png",
        "detector test tiny.data tiny.cfg tiny.weights a.png -json_port 8070 -mjpeg_port 8090",
        "detect tiny.cfg tiny.weights a.png -thresh 0.5",
        "yolo test tiny.cfg tiny.weights a.png",
    ],
)
def test_flags_stand_anywhere(model: tuple[str, str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(line.split(), capsys)
    assert status == 0, err
    assert out.startswith("a.png: Predicted in ")
    assert re.search(r"^(dog|1): 98%", out, re.MULTILINE)
    assert pathlib.Path("predictions.jpg").exists()
    assert ("ignored: extra words" in err) == ("extra" in line)
    assert ("-iou_thresh has no effect in detector test" in err) == ("-iou_thresh" in line)


def test_iou_thresh_is_not_i() -> None:
    values = {
        flag.name: value
        for flag, value in split_line(["-iou_thresh", ".5", "-i", "-1", "-thresh", "-.1"]).values.items()
    }
    assert values == {"-iou_thresh": ".5", "-i": "-1", "-thresh": "-.1"}


def test_of_a_repeated_flag_the_first_counts() -> None:
    assert split_line(["-thresh", ".1", "-thresh", ".2"]).values[FLAGS["-thresh"]] == ".1"


def test_a_number_behind_a_switch_is_a_file_only_where_one_is_needed(
    model: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(["partial", *model, "out.weights", "-dont_show", "1"], capsys)
    assert (status, "ignored" in err) == (0, False)
    assert pathlib.Path("out.weights").stat().st_size == 172108 - 20 + 20


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("detector test tiny.data", r"detector test: expected DATA CFG WEIGHTS \[IMAGE\], found no CFG"),
        ("detector tset tiny.data", "detector: expected one of calc_anchors, .*, found tset .did you mean 'test'"),
        ("detector", "detector: expected one of .* found nothing"),
        ("detector test tiny.data tiny.cfg tiny.weights a.png -thresh high", "-thresh: expected a number, got 'high'"),
        ("nightmare tiny.cfg tiny.weights a.png 3 -rounds 4", "nightmare: not supported: DeepDream"),
        ("average tiny.cfg out.weights", "average: expected WEIGHTS after OUTPUT"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    model: tuple[str, str], line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(line.split(), capsys)
    assert status == 1
    assert re.search(f"^darknet-py: {message}", err, re.MULTILINE), err


def test_help_of_a_command_and_of_a_function(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(["detector", "--help"], capsys)
    assert status == 0
    assert "usage: darknet-py detector FUNCTION" in out
    status, out, _ = run(["detector", "test", "--help"], capsys)
    assert status == 0
    assert "usage: darknet-py detector test DATA CFG WEIGHTS [IMAGE] [flags]" in out
    assert re.search(r"-thresh X +score threshold \(default: 0.25\)", out)


def test_a_line_with_options_of_this_package_is_its_own(
    model: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(["detect", *model, "a.png", "--conf", "0.5"], capsys)
    assert status == 0
    assert out.startswith("a.png: 60x40, 1 detection")
    assert not pathlib.Path("predictions.jpg").exists()


def test_recall_is_printed_to_stderr(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    pathlib.Path("list.txt").write_text("a.png\n")
    pathlib.Path("a.txt").write_text("1 0.5 0.5 0.25 0.25\n")
    pathlib.Path("v.data").write_text("classes=2\nnames=tiny.names\nvalid=list.txt\n")
    status, out, err = run(["detector", "recall", "v.data", *model], capsys)
    assert (status, out) == (0, "")
    assert "Recall:100.00%" in err


RUN = sorted(
    {
        (function.name, tuple(sorted((flag.name, str(value)) for flag, value in line.values.items())))
        for line in map(split_line, map(split, LINES))
        if line.words[0] not in _darknet.SHARED or line.values
        for function in [_darknet.understand(line)[0]]
        if function.name not in {*ANSWERS, "oneoff"} and not function.name.endswith(("train", "demo"))
        if not function.name.startswith(
            "cifar"
        )  # these and oneoff need files of their own, and have tests of their own
    }
)
FILES = {
    "data": "run.data",
    "cfg": "tiny.cfg",
    "weights?": "tiny.weights",
    "image?": "a.png",
    "image": "a.png",
    "weights": "tiny.weights",
    "output": "out.weights",
    "layers": "1",
    "tics?": "1",
    "layer": "0",
    "image*": "a.png",
    "weights*": "tiny.weights",
    "list?": "list",
    "list": "list",
}


@pytest.mark.parametrize(("name", "flags"), RUN, ids=[f"{name}{' '.join(f[0] for f in flags)}" for name, flags in RUN])
def test_every_function_runs_on_a_small_network_with_the_flags_of_the_forks_lines(
    model: tuple[str, str],
    name: str,
    flags: tuple[tuple[str, str], ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    del model
    given = b">>a.\n" if name.startswith("rnn") else b"a.png\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    if ("-save_labels", "True") not in flags:
        pathlib.Path("a.txt").write_text("".join(f"1 0.5 0.5 0.{n} 0.{20 - n}\n" for n in range(10, 20)))
    pathlib.Path("list").write_text("a.png\n")
    pathlib.Path("labels").write_text("a\nb\n")  # the label of an image is a word of its path
    pathlib.Path("run.data").write_text(
        "classes=2\nnames=tiny.names\nlabels=labels\ntrain=list\nvalid=list\ntest=list\nresults=out\n"
    )
    if name.startswith(("classif", "rnn")):
        size = "inputs=256" if name.startswith("rnn") else "width=8\nheight=8\nchannels=3"
        pathlib.Path("cfg").mkdir()
        shutil.copy("run.data", "cfg/imagenet1k.data")
        layers = "[connected]\noutput=256\n" if name.startswith("rnn") else "[conv]\nfilters=2\n[avgpool]\n"
        pathlib.Path("tiny.cfg").write_text(f"[net]\n{size}\n{layers}[softmax]\n")
        dk.save_weights(dk.load("tiny.cfg"), "tiny.weights")
    line = [*name.split(), *(FILES[file] for file in _darknet.functions()[name].files)]
    for flag, value in flags:
        line += [flag] if value == "True" else [flag, value]
    status, out, err = run(line, capsys)
    assert status == 0, err
    assert out or err


def test_every_flag_is_found_in_any_spelling() -> None:
    for name in FLAGS:
        flag = find_flag(name)
        assert flag is not None
        assert find_flag("--" + name[1:].upper().replace("_", "-")) is flag
    assert find_flag("-1") is None
    assert find_flag("-") is None
    assert find_flag("thresh") is None


def test_functions_and_answers_have_a_description() -> None:
    functions = _darknet.functions()
    assert set(ANSWERS) <= set(functions)
    for name, function in functions.items():
        assert function.summary.endswith("."), name
        assert set(function.flags) <= set(FLAGS), name


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("-dont_show", 1, "-dont_show: a flag of Darknet's, without a command: expected a line such as"),
        ("-i 0 -clear", 1, "-i: a flag of Darknet's, without a command"),
        ("-i 0 detecter test a b c", 2, r"unknown verb 'detecter' \(did you mean 'detector'\?\)"),
        ("-i 0 check a", 2, "-i in front of check: expected options behind it: see darknet-py check --help"),
    ],
)
def test_flags_without_a_command(line: str, status: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    given, _, err = run(line.split(), capsys)
    assert (given, bool(re.search(message, err))) == (status, True), err
