"""``cifar`` computes and prints what C does, on files of the format of CIFAR-10's binary version."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

import darknet_py as dk
from darknet_py import cli
from darknet_py.data import cifar
from darknet_py.training.tensor_batches import TensorBatches, TensorData
from tests.commands.test_darknet_lines import run
from tests.helpers import reference_values

CFG = """
[net]
width=32
height=32
channels=3
batch=4
max_batches=3
learning_rate=0.01
[convolutional]
filters=6
size=3
stride=4
activation=leaky
[convolutional]
filters=10
size=1
activation=linear
[avgpool]
[softmax]
"""
FOLDER = pathlib.Path("data/cifar/cifar-10-batches-bin")
LINE = ["c.cfg", "c.weights"]


def write_records(file: str, count: int, seed: int) -> None:
    """Write records of random classes and pixels."""
    values = (reference_values.uniform(seed, 0, count * 3073) * 256).astype(np.uint8).reshape(count, 3073)
    values[:, 0] %= 10
    values.tofile(FOLDER / file)


@pytest.fixture
def files(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network, and six records in each file."""
    monkeypatch.chdir(tmp_path)
    FOLDER.mkdir(parents=True)
    for number, file in enumerate((*cifar.TRAIN_FILES, *cifar.TEST_FILES)):
        write_records(file, 6, number)
    pathlib.Path("c.cfg").write_text(CFG)
    network = dk.load("c.cfg")
    for number, tensor in enumerate(network.state_dict().values()):
        values = reference_values.uniform(number, 0, tensor.numel()) - 0.5
        tensor.copy_(torch.from_numpy(values).view(tensor.shape))
    network.version = (0, 2, 0)
    dk.save_weights(network, "c.weights")


@pytest.mark.usefixtures("files")
def test_outputs_and_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    network = dk.load("c.cfg", "c.weights")
    images = cifar.read_cifar(FOLDER, cifar.TEST_FILES)
    assert images.pixels[1, 2, 3, 4] == (FOLDER / "test_batch.bin").read_bytes()[3073 + 1 + 2 * 1024 + 3 * 32 + 4]
    x = images.pixels.float() / 255
    plain, mirrored = (network.predict(part)[-1].flatten(1).numpy() for part in (x, x.flip(3)))
    hits = (plain + mirrored).argmax(axis=1) == images.classes.numpy()
    status, out, _ = run(["cifar", "multi", *LINE], capsys)
    expected = [f"{index:4}: {100 * hits[: index + 1].mean():.2f}%" for index in range(6)]
    assert (status, out.splitlines()) == (0, expected)
    status, out, err = run(["cifar", "csv", *LINE, str(FOLDER)], capsys)
    assert status == 0
    np.testing.assert_allclose(np.loadtxt(out.splitlines(), delimiter=","), (plain + mirrored) / 2, rtol=1e-6)
    assert f"Accuracy: {hits.mean():f}" in err
    pathlib.Path("results").mkdir()
    pathlib.Path("results/combined.csv").write_text(out)
    status, out, err = run(["cifar", "eval", "c.cfg"], capsys)
    assert (status, out, err.splitlines()[-2:]) == (0, "", ["6 10", f"Accuracy: {hits.mean():f}"])
    status, out, _ = run(["cifar", "test", *LINE], capsys)
    accuracy = (plain.argmax(axis=1) == images.classes.numpy()).mean()
    assert re.fullmatch(rf"top1: {accuracy:f}, \d+\.\d{{6}} seconds, 6 images\n", out)


@pytest.mark.usefixtures("files")
def test_training_targets_are_smoothed_or_soft(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image in all files: the cost of the first iteration is C's, the sum of -log p where a target is not 0."""
    record = (FOLDER / "data_batch_1.bin").read_bytes()[:3073]
    for file in cifar.TRAIN_FILES:
        (FOLDER / file).write_bytes(record)
    images = cifar.read_cifar(FOLDER, cifar.TRAIN_FILES)
    logs = dk.load("c.cfg", "c.weights").predict(images.pixels[:1].float() / 255)[-1].flatten().log()
    label = torch.full((10,), 0.01)
    label[images.classes[0]] += 0.9
    soft = torch.arange(10) / 45
    pathlib.Path("results").mkdir()
    pathlib.Path("results/ensemble.csv").write_text((",".join(map(str, soft.tolist())) + "\n") * 5)
    given: list[TensorData] = []
    create = TensorBatches.__init__

    def keep(self: TensorBatches, network: dk.Network, data: TensorData, **kwargs: int) -> None:
        given.append(data)
        create(self, network, data, **kwargs)

    monkeypatch.setattr(TensorBatches, "__init__", keep)
    iteration = re.compile(
        r"^(\d), (\d\.\d{3}): ([\d.]+), ([\d.]+) avg, 0.010000 rate, [\d.]+ seconds, (\d+) images$", re.M
    )
    for name, target in (("train", label), ("distill", 0.9 * soft + 0.1 * label)):
        status, out, err = run(["cifar", name, *LINE, "-clear"], capsys)
        assert status == 0, err
        torch.testing.assert_close(given[-1].targets, target.repeat(5, 1))
        rows = iteration.findall(out)
        assert [row[0] for row in rows] == ["1", "2", "3"]
        assert (rows[0][1], rows[0][4]) == ("0.800", "4")
        losses = [float(row[2]) for row in rows]
        assert losses[0] == pytest.approx(-float(logs.sum()), rel=1e-5)
        assert float(rows[1][3]) == pytest.approx(0.95 * losses[0] + 0.05 * losses[1], abs=2e-6)
    assert pathlib.Path("backup/c_final.weights").exists()


@pytest.mark.usefixtures("files")
def test_extract_writes_images_whose_names_are_labels(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cifar", "extract"], capsys)[0] == 0
    images = cifar.read_cifar(FOLDER, cifar.TRAIN_FILES)
    paths = sorted(pathlib.Path("data/cifar/train").iterdir(), key=lambda path: int(path.name.partition("_")[0]))
    assert [path.name for path in paths] == [f"{n}_{cifar.NAMES[k]}.png" for n, k in enumerate(images.classes.tolist())]
    with Image.open(paths[7]) as image:
        assert np.array_equal(np.asarray(image), images.pixels[7].permute(1, 2, 0).numpy())
    assert len(list(pathlib.Path("data/cifar/test").iterdir())) == 6


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cifar test c.cfg c.weights nowhere", "nowhere/test_batch.bin: No such file or directory: expected CIFAR-10"),
        ("cifar distill c.cfg", "results/ensemble.csv: No such file or directory: expected a file that cifar csv"),
        ("cifar test other.cfg", "other.cfg: expected a network with an input of 3 x 32 x 32 and 10 outputs"),
        ("cifar train other.cfg", r"images \[30, 3, 32, 32\]: expected \[n, 3, 16, 16\]"),
        ("cifar test c.cfg c.weights short", "short/test_batch.bin: expected records of 3073 bytes, found 10 bytes"),
    ],
)
def test_errors(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    pathlib.Path("other.cfg").write_text(CFG.replace("=32", "=16"))
    dk.save_weights(dk.load("other.cfg").initialise(), "other.weights")
    pathlib.Path("short").mkdir()
    pathlib.Path("short/test_batch.bin").write_bytes(bytes(10))
    words = line.split()
    status, _, err = run([*words, "other.weights"] if words[-1] == "other.cfg" else words, capsys)
    assert status == 1
    assert re.search(f"^darknet-py: {message}", err, re.MULTILINE), err


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("darknet") is None, reason="compares with the Debian package darknet")
@pytest.mark.usefixtures("files")
def test_numbers_are_those_of_c(capsys: pytest.CaptureFixture[str]) -> None:
    """C reads 10,000 records from each file."""
    write_records("test_batch.bin", 10000, 9)
    for name in ("multi", "csv"):
        theirs = subprocess.run(["darknet", "cifar", name, *LINE], capture_output=True, text=True, check=True)
        status, out, err = run(["cifar", name, *LINE, "-i", "-1"], capsys)
        assert status == 0
        rows, expected = (re.findall(r"-?[\d.]+(?:e-?\d+)?", text) for text in (out, theirs.stdout))
        np.testing.assert_allclose(list(map(float, rows)), list(map(float, expected)), rtol=2e-5, atol=0.0101)
        assert len(rows) == 10000 * (2 if name == "multi" else 10)
    accuracy = re.compile(r"Accuracy: ([\d.]+)")
    assert float(accuracy.findall(err)[0]) == pytest.approx(float(accuracy.findall(theirs.stderr)[0]), abs=2e-4)
    theirs = subprocess.run(["darknet", "cifar", "test", *LINE], capture_output=True, text=True, check=True)
    top = re.compile(r"top1: ([\d.]+)")
    ours = run(["cifar", "test", *LINE, "-i", "-1"], capsys)[1]
    assert float(top.findall(ours)[0]) == pytest.approx(float(top.findall(theirs.stdout)[0]), abs=2e-4)


def test_a_folder_may_stand_in_the_place_of_the_weights(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("c.cfg").write_text(CFG)
    FOLDER.mkdir(parents=True)
    for file in cifar.TRAIN_FILES:
        write_records(file, 2, 1)
    assert cli.main(["cifar", "train", "c.cfg", str(FOLDER)]) == 0
