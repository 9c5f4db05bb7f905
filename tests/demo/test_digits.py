"""The set that the package makes, and the network that comes with its weights."""

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

# What scikit-learn's page says of its set, digit by digit.
COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A set of 32 images to train on and 96 to validate on; its .data file."""
    return digits.write(tmp_path_factory.mktemp("digits"), 32, 96)


@pytest.fixture(autouse=True)
def _nothing_fetched(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKNET_PY_HOME", str(tmp_path / "empty"))


def test_every_digit_is_there_once() -> None:
    samples = digits.load()
    parts = list(zip(samples["train"], samples["valid"], strict=True))
    assert [len(train) + len(valid) for train, valid in parts] == COUNTS
    assert all(len(valid) >= 0.2 * len(train) for train, valid in parts)
    assert all(sample.shape == (8, 8) and 0 <= sample.min() < sample.max() <= 1 for sample in samples["train"][0])


def test_a_image_follows_from_seed_list_and_number() -> None:
    samples = digits.load()["valid"]
    first, targets = digits.scene(samples, "valid", 3)
    again, same = digits.scene(samples, "valid", 3)
    assert np.array_equal(first, again)
    assert np.array_equal(targets, same)
    for other in (("train", 3, 0), ("valid", 4, 0), ("valid", 3, 1)):
        assert not np.array_equal(first, digits.scene(samples, *other)[0])


def test_boxes_hold_the_ink_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "texture", lambda _, side: np.ones((side, side, 3)))
    samples = digits.load()["train"]
    for number in range(20):
        image, targets = digits.scene(samples, "train", number)
        ink, covered = image.min(axis=2) < 255, np.zeros(image.shape[:2], bool)
        for x, y, w, h, _ in targets.astype(float) * (*[digits.SIDE] * 4, 1):
            left, top, right, bottom = (round(edge) for edge in (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
            box = ink[top:bottom, left:right]
            assert all(edge.any() for edge in (box[0], box[-1], box[:, 0], box[:, -1]))
            covered[top:bottom, left:right] = True
        assert len(targets)
        assert not (ink & ~covered).any()


def test_the_set_is_read_without_a_complaint(made: pathlib.Path) -> None:
    train, valid = (load_dataset(made, subset) for subset in ("train", "valid"))
    assert (len(train), len(valid), valid.names) == (32, 96, digits.NAMES)
    assert not train.problems
    assert [error for one in check.check_dataset(made) for error in one.problems] == []
    assert (made.parent / "digits.names").read_text() == (catalogue.cfg_folder() / "digits.names").read_text()
    samples = digits.load()["valid"]
    for number, sample in enumerate(valid):
        assert np.abs(sample.targets - digits.scene(samples, "valid", number)[1]).max() < 1e-6


def test_the_verb_makes_a_set(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["digits", str(tmp_path / "set"), "--train-images", "2", "--valid-images", "1", "--quiet"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'set' / 'digits.data'}\n"
    assert sorted(path.name for path in (tmp_path / "set" / "train").iterdir()) == [
        *("00000.png", "00000.txt", "00001.png", "00001.txt"),
    ]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/set.*: Not a directory"):
        digits.write(tmp_path / "file" / "set", 1, 1)


def test_the_weights_that_come_along_find_digits(made: pathlib.Path) -> None:
    assert dk.evaluate(dk.load("digits"), made).map50 > 0.9


def test_a_image_says_its_digits(made: pathlib.Path) -> None:
    detector = dk.Detector(dk.load("digits"), names=digits.NAMES)
    sample = load_dataset(made).samples[0]
    boxes = detector(sample.image).boxes
    targets = torch.from_numpy(sample.targets)
    overlaps = iou(targets[:, None, :4] * digits.SIDE, xyxy_to_xywh(boxes.xyxy))
    assert boxes.cls[overlaps.argmax(dim=1)].tolist() == targets[:, 4].tolist()
    assert overlaps.amax(dim=1).min() > 0.6
    assert len(boxes) == len(targets)


def test_training_goes_on_from_the_weights_and_keeps_them_good(made: pathlib.Path) -> None:
    net = resume.build(catalogue.cfg_path("digits"), values={"learning_rate": "0.00001", "burn_in": "0"})
    dk.load_weights(net, catalogue.fetch("digits"))
    before, seen = dk.evaluate(net, made).map50, batches.for_detector(net, load_dataset(made, "train"), workers=0)
    trainer = dk.Trainer(net, clear=True)
    for batch in itertools.islice(seen, 5):
        trainer.step(batch.pairs)
    assert dk.evaluate(net, made).map50 > before - 0.03


def test_a_training_from_nothing_learns(made: pathlib.Path) -> None:
    net = resume.build(catalogue.cfg_path("digits"), values={"learning_rate": "0.001", "burn_in": "0"}, seed=1)
    trainer = dk.Trainer(net, clear=True)
    seen = batches.for_detector(net, load_dataset(made, "train"), workers=0)
    costs = [float(trainer.step(batch.pairs)) for batch in itertools.islice(seen, 12)]
    assert costs[-1] < 0.3 * costs[0]
