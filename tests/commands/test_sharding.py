"""Several processes write what one process writes."""

from __future__ import annotations

import functools
import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image

import darknet_py as dk
from darknet_py import cli
from darknet_py.demo import digits
from darknet_py.distributed import ProcessGroup
from tests.commands.test_cli import model
from tests.helpers import process_groups, training_runs

__all__ = ["model"]  # a fixture

TIMES = re.compile(r", [0-9.]+ ms$|\"seconds\": [0-9.]+", re.MULTILINE)


def launch(*words: str, cwd: pathlib.Path, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Run a command line under torchrun."""
    launcher = (*training_runs.PROCESSES[:-1], f"--nproc-per-node={processes}")
    line = [sys.executable, *launcher, "-m", "darknet_py", *words]
    return subprocess.run(
        line, cwd=cwd, env=training_runs.environment(), capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with ``set``, 21 images of digits with labels, the third of which is broken."""
    folder = tmp_path_factory.mktemp("sharding")
    digits.write_dataset(folder / "set", 1, 21)
    (folder / "set" / "valid" / "00002.png").write_bytes(b"no image")
    return folder


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    """The files below a folder, without times."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes() if path.suffix == ".png" else TIMES.sub("", path.read_text()).encode()
        for name, path in files.items()
    }


DETECT = (
    *("--json", "{}/a.json", "--jsonl", "{}/a.jsonl", "--csv", "{}/a.csv", "--darknet-json", "{}/dark.json"),
    *("--save", "{}/images", "--save-txt", "{}/labels", "--save-conf", "--save-crop", "{}/crops"),
)


def filled(words: Sequence[str], out: str) -> list[str]:
    return [word.format(out) for word in words]


def test_two_processes_detect_as_one(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    for name in ("one", "two"):
        (folder / name).mkdir()
    line = ("detect", "digits", "set/valid", "--batch", "4", "--device", "cpu", *DETECT)
    assert cli.main(filled(line, "one")) == 1
    one = capsys.readouterr()
    two = launch(*filled(line, "two"), cwd=folder)
    assert two.returncode == 1  # for the broken image
    assert TIMES.sub("", two.stdout) == TIMES.sub("", one.out)
    messages = [row for row in two.stderr.splitlines() if row.startswith(("darknet-py:", "images", "labels", "crops"))]
    assert [row.replace("two", "one") for row in messages] == one.err.splitlines()
    assert contents(folder / "two") == contents(folder / "one")
    assert len(json.loads((folder / "two" / "a.json").read_text())) == 20
    assert len(list((folder / "two" / "images").iterdir())) == 20


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["darknet", "voc07", "coco"])
def test_two_processes_evaluate_as_one(
    protocol: str, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if protocol == "coco":
        pytest.importorskip("pycocotools", reason="the coco protocol needs pycocotools")
    monkeypatch.chdir(folder)
    out = f"evaluated_{protocol}"
    line = ("evaluate", "digits", "set/digits.data", "--device", "cpu", "--protocol", protocol, "--batch", "4")
    outputs = ("--json", "{}/a.json", "--coco-json", "{}/coco.json", "--voc", "{}/voc", "--classes", "1,2,7")
    for name in ("one", "two"):
        (folder / f"{out}_{name}").mkdir()
    assert cli.main(filled((*line, *outputs), f"{out}_one")) == 0
    one = capsys.readouterr()
    two = launch(*filled((*line, *outputs), f"{out}_two"), cwd=folder)
    assert two.returncode == 0, two.stderr
    assert two.stdout == one.out
    assert two.stderr.count("set/valid/00002.png: ") == 1  # logged by the main process
    assert contents(folder / f"{out}_two") == contents(folder / f"{out}_one")


@pytest.mark.slow
def test_a_process_that_fails_ends_the_run_without_output(folder: pathlib.Path) -> None:
    (folder / "bad" / "00001.txt").mkdir(parents=True)
    line = ("detect", "digits", "set/valid", "--batch", "1", "--device", "cpu", "--save-txt", "bad")
    done = launch(*line, "--json", "failed.json", "--csv", "failed.csv", cwd=folder)
    assert done.returncode == 1
    assert "darknet-py: bad/00001.txt: Is a directory" in done.stderr
    assert not re.search(r"darknet_py/.*\.py", done.stderr)  # no traceback of this package
    assert not list(folder.glob("failed*"))
    assert not list(folder.rglob(".darknet_py-*"))
    assert done.stdout == ""


@pytest.mark.slow
def test_an_error_of_all_processes_is_printed_once(folder: pathlib.Path) -> None:
    for line in (("detect", "digits", "absent"), ("evaluate", "digits", "set/digits.data", "--points", "1")):
        done = launch(*line, cwd=folder, processes=3)
        assert done.returncode == 1
        assert done.stderr.count("darknet-py: ") == 1


@pytest.mark.parametrize("flags", [(), ("--tile", "--clip"), ("--conf", "0.9")])
def test_more_processes_than_images(
    flags: tuple[str, ...],
    model: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ["detect", *model, "b.png", "a.png", "b.png", *flags, "--batch", "1"]
    assert cli.main(line) == 0
    expected = TIMES.sub("", capsys.readouterr().out)
    assert process_groups.run(monkeypatch, 5, lambda: cli.main(line)) == 0
    assert TIMES.sub("", capsys.readouterr().out) == expected
    assert expected.count("png") == 3


@pytest.mark.parametrize("batch", ["1", "4"])
def test_evaluations_are_merged_in_the_order_of_the_images(
    batch: str, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    line = ["evaluate", "digits", "set/digits.data", "--batch", batch, "--json", "a.json", "--coco-json", "b.json"]
    assert cli.main(line) == 0
    one = capsys.readouterr(), written("a.json"), written("b.json")
    assert process_groups.run(monkeypatch, 3, lambda: cli.main(line)) == 0
    assert (capsys.readouterr(), written("a.json"), written("b.json")) == one


def written(name: str) -> str:
    """The text of a file without times."""
    return TIMES.sub("", pathlib.Path(name).read_text())


CLASSIFIER = """
[net]
width=16
height=16
channels=3
{}
[avgpool]
[connected]
output=3
activation=linear
[softmax]
"""
CONVOLUTION = "[convolutional]\nfilters=4\nsize=3\nactivation=leaky"
RECURRENT = "[crnn]\nsize=3\npad=1\noutput_filters=4\nhidden_filters=4\nactivation=leaky"


@pytest.mark.parametrize("layer", [CONVOLUTION, RECURRENT], ids=["images", "sequence"])
def test_processes_classify_as_one(
    layer: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for number in range(7):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(f"{number}_{'abc'[number % 3]}.png")
    pathlib.Path("0_a.png").write_bytes(b"no image")
    pathlib.Path("my.cfg").write_text(CLASSIFIER.format(layer))
    pathlib.Path("my.names").write_text("a\nb\nc\n")
    pathlib.Path("valid.txt").write_text("".join(f"{path}\n" for path in sorted(tmp_path.glob("*.png"))))
    pathlib.Path("my.data").write_text("classes=3\nvalid=valid.txt\nlabels=my.names\ntop=2\n")
    torch.manual_seed(0)
    dk.save_weights(dk.load("my.cfg"), "my.weights")
    for line in (["*.png", "--names", "my.names", "--json", "{}.json"], ["--valid", "my.data"]):
        words = ["classify", "my.cfg", "my.weights", *line, "--batch", "2"]
        assert cli.main(filled(words, "one")) == 1
        one = capsys.readouterr()
        assert process_groups.run(monkeypatch, 3, functools.partial(cli.main, filled(words, "two"))) == 1
        two = capsys.readouterr()
        assert two.out == one.out
        assert two.err.count("0_a.png: ") == 1
    assert pathlib.Path("two.json").read_bytes() == pathlib.Path("one.json").read_bytes()


def run_as_two(monkeypatch: pytest.MonkeyPatch, *line: str) -> int:
    monkeypatch.setattr(ProcessGroup, "init", lambda **_: process_groups.SequentialGroup(0, 2, {}))
    return cli.main(line)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (("clip.mp4",), "clip.mp4 is a video: expected one process, found 2, which share images only"),
        (("a.png", "b.png", "--track"), "--track needs the images in their order: expected one process, found 2"),
        (("a.png", "--json", "absent/a.json"), "absent/a.json: No such file or directory"),
    ],
)
def test_what_several_processes_cannot_do_is_refused_before_the_work(
    sources: tuple[str, ...],
    message: str,
    model: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pathlib.Path("clip.mp4").touch()
    monkeypatch.setattr("darknet_py.commands.detect._create_detector", lambda *_, **__: pytest.fail("loaded"))
    assert run_as_two(monkeypatch, "detect", *model, *sources) == 1
    assert message in capsys.readouterr().err


def test_each_batch_is_computed_once() -> None:
    for count, batch, world_size in ((11, 1, 3), (11, 4, 2), (2, 4, 3), (0, 8, 2)):
        shards = [ProcessGroup(rank, world_size).indices(count, batch) for rank in range(world_size)]
        assert sorted(index for shard in shards for index in shard) == list(range(count))
        assert all(shard[place] % batch == 0 for shard in shards for place in range(0, len(shard), batch))
        assert ProcessGroup(0, world_size).indices(count, batch, is_sequence=True) == list(range(count))
        assert ProcessGroup(1, world_size).indices(count, batch, is_sequence=True) == []
