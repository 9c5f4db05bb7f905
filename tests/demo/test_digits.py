"""The synthetic data set of digits, and the network that is installed with its weights."""

from __future__ import annotations

import itertools
import pathlib

import numpy as np
import pytest
import torch

import darknet_py as dk
from darknet_py import cli
from darknet_py.boxes import iou, xyxy_to_xywh
from darknet_py.data import check
from darknet_py.data.formats import load_dataset
from darknet_py.demo import digits
from darknet_py.errors import DataError
from darknet_py.hub import catalogue
from darknet_py.training import batches, resume

# Samples of each digit, as scikit-learn documents them.
COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The .data file of a data set of 32 training and 96 validation images."""
    return digits.write_dataset(tmp_path_factory.mktemp("digits"), 32, 96)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKNET_PY_HOME", str(tmp_path / "empty"))


def test_every_sample_is_in_one_subset() -> None:
    samples = digits.load_samples()
    parts = list(zip(samples["train"], samples["valid"], strict=True))
    assert [len(train) + len(valid) for train, valid in parts] == COUNTS
    assert all(len(valid) >= 0.2 * len(train) for train, valid in parts)
    assert all(sample.shape == (8, 8) and 0 <= sample.min() < sample.max() <= 1 for sample in samples["train"][0])


def test_an_image_depends_on_seed_subset_and_number_only() -> None:
    samples = digits.load_samples()["valid"]
    first, targets = digits.render_image(samples, "valid", 3)
    again, same = digits.render_image(samples, "valid", 3)
    assert np.array_equal(first, again)
    assert np.array_equal(targets, same)
    for other in (("train", 3, 0), ("valid", 4, 0), ("valid", 3, 1)):
        assert not np.array_equal(first, digits.render_image(samples, *other)[0])


def test_boxes_enclose_the_ink_tightly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "render_texture", lambda _, side: np.ones((side, side, 3)))
    samples = digits.load_samples()["train"]
    for number in range(20):
        image, targets = digits.render_image(samples, "train", number)
        ink, covered = image.min(axis=2) < 255, np.zeros(image.shape[:2], bool)
        for x, y, w, h, _ in targets.astype(float) * (*[digits.SIDE] * 4, 1):
            left, top, right, bottom = (round(edge) for edge in (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
            box = ink[top:bottom, left:right]
            assert all(edge.any() for edge in (box[0], box[-1], box[:, 0], box[:, -1]))
            covered[top:bottom, left:right] = True
        assert len(targets)
        assert not (ink & ~covered).any()


def test_the_data_set_has_no_problems(data_file: pathlib.Path) -> None:
    train, valid = (load_dataset(data_file, subset) for subset in ("train", "valid"))
    assert (len(train), len(valid), valid.names) == (32, 96, digits.CLASS_NAMES)
    assert not train.problems
    assert [error for one in check.check_dataset(data_file) for error in one.problems] == []
    assert (data_file.parent / "digits.names").read_text() == (catalogue.cfg_folder() / "digits.names").read_text()
    samples = digits.load_samples()["valid"]
    for number, sample in enumerate(valid):
        assert np.abs(sample.targets - digits.render_image(samples, "valid", number)[1]).max() < 1e-6


def test_the_command_writes_a_data_set(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["digits", str(tmp_path / "set"), "--train-images", "2", "--valid-images", "1", "--quiet"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'set' / 'digits.data'}\n"
    assert sorted(path.name for path in (tmp_path / "set" / "train").iterdir()) == [
        *("00000.png", "00000.txt", "00001.png", "00001.txt"),
    ]


def test_the_error_names_a_folder_that_cannot_be_created(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/set.*: Not a directory"):
        digits.write_dataset(tmp_path / "file" / "set", 1, 1)


def test_the_installed_weights_detect_digits(data_file: pathlib.Path) -> None:
    assert dk.evaluate(dk.load("digits"), data_file).map50 > 0.9


def test_every_digit_of_an_image_is_detected(data_file: pathlib.Path) -> None:
    detector = dk.Detector(dk.load("digits"), names=digits.CLASS_NAMES)
    sample = load_dataset(data_file).samples[0]
    boxes = detector(sample.image).boxes
    targets = torch.from_numpy(sample.targets)
    overlaps = iou(targets[:, None, :4] * digits.SIDE, xyxy_to_xywh(boxes.xyxy))
    assert boxes.cls[overlaps.argmax(dim=1)].tolist() == targets[:, 4].tolist()
    assert overlaps.amax(dim=1).min() > 0.6
    assert len(boxes) == len(targets)


def test_finetuning_keeps_the_map(data_file: pathlib.Path) -> None:
    net = resume.build_network(catalogue.cfg_path("digits"), values={"learning_rate": "0.00001", "burn_in": "0"})
    dk.load_weights(net, catalogue.fetch("digits"))
    before = dk.evaluate(net, data_file).map50
    loader = batches.create_detection_loader(net, load_dataset(data_file, "train"), workers=0)
    trainer = dk.Trainer(net, clear=True)
    for batch in itertools.islice(loader, 5):
        trainer.step(batch.pairs)
    assert dk.evaluate(net, data_file).map50 > before - 0.03


def test_training_from_random_weights_reduces_the_loss(data_file: pathlib.Path) -> None:
    net = resume.build_network(catalogue.cfg_path("digits"), values={"learning_rate": "0.001", "burn_in": "0"}, seed=1)
    trainer = dk.Trainer(net, clear=True)
    loader = batches.create_detection_loader(net, load_dataset(data_file, "train"), workers=0)
    losses = [float(trainer.step(batch.pairs)) for batch in itertools.islice(loader, 12)]
    assert losses[-1] < 0.3 * losses[0]
