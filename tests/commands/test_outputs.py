"""No command replaces what it reads."""

from __future__ import annotations

import argparse
import hashlib
import os
import pathlib
import shutil
from collections.abc import Iterator

import pytest

import darknet_py
from darknet_py import cli
from darknet_py.commands import _output
from darknet_py.conversion.checkpoints import convert
from darknet_py.demo.digits import write_dataset
from darknet_py.errors import DataError
from darknet_py.hub import catalogue

MODEL = ("digits.cfg", "digits.weights")
IMAGE = "set/valid/00000.png"
LABEL = "set/valid/00000.txt"


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The working directory, with digits.cfg and its weights, a data set ``set``, and links into it."""
    for name in ("digits.cfg", "digits.weights"):
        shutil.copyfile(catalogue.cfg_folder() / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    write_dataset("set", train=2, valid=2, progress=False)
    os.link(IMAGE, "hard.png")
    os.symlink("set/valid", "link")
    (tmp_path / "set" / "clip.avi").touch()
    return tmp_path


@pytest.fixture
def unchanged(folder: pathlib.Path) -> Iterator[None]:
    """All files keep their content."""
    before = _digests(folder)
    yield
    after = _digests(folder)
    assert {path: after.get(path) for path in before} == before


def _digests(folder: pathlib.Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _actions(child)
        else:
            yield action


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "line",
    [
        ("detect", *MODEL, IMAGE, "--save", "set/valid"),
        ("detect", *MODEL, IMAGE, "--save-txt", "set/valid"),
        ("detect", *MODEL, "set/valid", "--save-txt", "link"),
        ("detect", *MODEL, IMAGE, "--json", IMAGE),
        ("detect", *MODEL, IMAGE, "--json", LABEL),
        ("anchors", "set/digits.data", "digits.cfg", "-o", LABEL),
        ("anchors", "set/digits.data", "digits.cfg", "-o", "set/train.txt"),
        ("evaluate", *MODEL, "set/digits.data", "--json", "set/valid.txt"),
        ("data", "duplicates", "set/digits.data", "--json", "set/train.txt"),
        ("data", "duplicates", "set/digits.data", "--json", LABEL),
        ("detect", *MODEL, IMAGE, "--save-txt", "new", "--json", "new/00000.txt"),
        ("detect", *MODEL, "set/valid", "--jsonl", IMAGE),
        ("detect", *MODEL, "set/valid", "--darknet-json", LABEL),
        ("detect", *MODEL, "set/valid.txt", "--jsonl", "set/valid.txt"),
        ("detect", *MODEL, IMAGE, "--jsonl", "digits.weights"),
        ("detect", *MODEL, IMAGE, "--json", "o.json", "--jsonl", "o.json"),
        ("classify", *MODEL, IMAGE, "--json", "hard.png"),
        ("evaluate", *MODEL, "set/digits.data", "--json", "set/digits.data"),
        ("evaluate", *MODEL, "set/digits.data", "--json", LABEL, "--quiet"),
        ("export", *MODEL, "-o", "digits.cfg"),
        ("convert", "digits.weights", "digits.weights", "--cfg", "digits.cfg"),
        ("convert", "digits.weights", "link/../../digits.cfg", "--cfg", "digits.cfg"),
        ("convert", "digits.weights", "a.pt", "--cfg", "digits.cfg", "--write-cfg", "digits.cfg"),
        ("convert", "digits.weights", "a.pt", "--cfg", "digits.cfg", "--write-cfg", "a.pt"),
        ("partial", "digits.cfg", "digits.weights", "digits.weights", "3"),
        ("anchors", "set/digits.data", "digits.cfg", "-o", "digits.cfg"),
        ("compare", "digits.cfg,digits.weights", "digits.cfg,digits.weights", "--json", "digits.weights"),
        ("train", "set/digits.data", *MODEL, "--chart", "digits.cfg"),
        ("detector", "test", "set/digits.data", *MODEL, IMAGE, "-out", IMAGE),
        ("detector", "test", "set/digits.data", *MODEL, IMAGE, "-out", LABEL),
        ("detector", "test", "set/digits.data", *MODEL, IMAGE, "-save_labels"),
        ("detector", "demo", "set/digits.data", *MODEL, "set/clip.avi", "-out_filename", "set/clip.avi"),
        ("detector", "demo", "set/digits.data", *MODEL, "set/clip.avi", "-json_file_output", "set/clip.avi"),
    ],
    ids=" ".join,
)
def test_an_output_that_is_an_input_is_an_error(line: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(line) == 1
    assert capsys.readouterr().err.count("darknet-py: ") == 1


@pytest.mark.parametrize(
    "line",
    [
        ("detect", *MODEL, IMAGE, "--save", "URL"),
        ("detect", *MODEL, IMAGE, "--save-txt", "URL"),
        ("detect", *MODEL, IMAGE, "--save-crop", "URL"),
        ("detect", *MODEL, IMAGE, "--jsonl", "URL/a.jsonl"),
        ("detect", *MODEL, IMAGE, "--csv", "URL/a.csv"),
        ("classify", *MODEL, IMAGE, "--json", "URL/a.json"),
        ("evaluate", *MODEL, "set/digits.data", "--json", "URL/a.json"),
        ("evaluate", *MODEL, "set/digits.data", "--quiet", "--plots", "URL"),
        ("export", *MODEL, "-o", "URL/a.onnx"),
        ("convert", "digits.weights", "URL/a.pt", "--cfg", "digits.cfg"),
        ("partial", "digits.cfg", "digits.weights", "URL/a.weights", "3"),
        ("train", "set/digits.data", "digits.cfg", "--out", "URL"),
        ("train", "set/digits.data", "digits.cfg", "--chart", "URL/a.png"),
        ("digits", "URL"),
        ("detector", "test", "set/digits.data", *MODEL, IMAGE, "-out", "URL/a.json"),
    ],
    ids=" ".join,
)
def test_an_output_that_is_a_url_is_an_error(
    line: tuple[str, ...], folder: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(os.listdir())
    assert cli.main([word.replace("URL", "https://localhost:9/b") for word in line]) == 1
    assert set(os.listdir()) == before
    error = capsys.readouterr().err
    assert error.count("darknet-py: https://localhost:9/b") == 1
    assert "expected a local file or folder to write, found a URL" in error


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "line",
    [
        ("benchmark", "no.cfg", "no.weights", "--json", "absent/a"),  # the input is not even looked for
        ("compare", "no.cfg", "no.cfg", "--json", "absent/a"),
        ("data", "duplicates", "no.data", "--json", "absent/a"),
        ("data", "stats", "set/digits.data", "--json", "absent/a", "-o", "plots"),
        ("detect", "no.cfg", "no.weights", IMAGE, "--jsonl", "absent/a"),
        ("evaluate", "no.cfg", "no.weights", "no.data", "--json", "absent/a"),
        ("report", *MODEL, "-o", "absent/a"),
    ],
)
def test_an_output_that_cannot_be_written_is_an_error_before_the_work(
    line: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*line]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err == "darknet-py: absent/a: No such file or directory\n"
    assert not os.path.exists("plots")


@pytest.mark.usefixtures("folder")
def test_predictions_of_a_file_that_they_would_replace_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copyfile(IMAGE, "predictions.jpg")
    assert cli.main(["detector", "test", "set/digits.data", *MODEL, "predictions.jpg"]) == 1
    assert pathlib.Path("predictions.jpg").read_bytes() == pathlib.Path(IMAGE).read_bytes()
    assert "would replace the input" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_outputs_beside_the_images_are_written_where_nothing_is_lost() -> None:
    os.remove(LABEL)
    assert cli.main(["detect", *MODEL, IMAGE, "--save-txt", "set/valid", "--quiet"]) == 0
    assert os.path.exists(LABEL)
    line = ["detector", "test", "set/digits.data", *MODEL, IMAGE, "-save_labels"]
    os.remove(LABEL)
    assert [cli.main(line), cli.main(line)] == [0, 0]


@pytest.mark.usefixtures("folder")
def test_an_image_whose_new_name_is_another_image_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    os.mkdir("other")
    shutil.copyfile(IMAGE, "other/00001.png")
    sources = ["set/valid/00000.png", "set/valid/00001.png", "other/00001.png"]
    os.rename("set/valid/00000.png", "set/valid/00001_2.png")
    assert cli.main(["detect", *MODEL, "set/valid/00001_2.png", *sources[1:], "--save", "set/valid"]) == 1
    assert "writing it would replace the input" in capsys.readouterr().err


@pytest.mark.usefixtures("folder", "unchanged")
def test_the_python_api_does_not_replace_what_it_reads(tmp_path: pathlib.Path) -> None:
    network = darknet_py.load("digits.cfg", "digits.weights")
    result = darknet_py.Detector(network)(IMAGE)
    with pytest.raises(DataError, match="would replace the input"):
        result.save("link/00000.png")
    with pytest.raises(DataError, match="would replace the input"):
        convert("digits.weights", tmp_path / "digits.weights", cfg="digits.cfg")
    with pytest.raises(DataError, match="would replace the input"):
        convert("digits.weights", "x.pt", cfg="digits.cfg", write_cfg=tmp_path / "digits.cfg", fuse_bn=True)


def test_every_argument_that_names_an_output_is_checked() -> None:
    """By its help: a new option that writes a file must be listed in ``_OUTPUTS`` or ``_FOLDERS``."""
    parser = cli.build_parser()
    written = set()
    for action in _actions(parser):
        text = action.help or ""
        if action.metavar in ("FILE", "TARGET", "OUTPUT", "DIR") and (
            "write" in text or "file of the loss chart" in text
        ):
            written.add(action.dest)
    assert written - {*_output._OUTPUTS, *_output._FOLDERS} == set()
    assert len(written) >= 8
