"""YOLO9000 in miniature: digits whose boxes are of shapes only are told apart by images without boxes."""

from __future__ import annotations

import pathlib
from collections import Counter

import numpy as np
import pytest

from darknet_py.data.formats import load_dataset
from darknet_py.demo import digits
from darknet_py.distributed import ProcessGroup
from darknet_py.evaluation.evaluator import evaluate
from darknet_py.training import resume
from darknet_py.training.batches import create_batches
from darknet_py.training.options import TrainOptions
from darknet_py.training.trainer import Trainer
from tests.helpers.example_scripts import load_example
from tests.helpers.paths import ROOT

EXAMPLE = ROOT / "examples" / "yolo9000"
NAMES = [line.split()[0] for line in (EXAMPLE / "digits.tree").read_text().splitlines()]
SHAPES = {"round": "zero six eight nine", "straight": "one four seven", "curved": "two three five"}


def write(folder: pathlib.Path, train: int, singles: int, valid: int) -> pathlib.Path:
    """Write the example's data set; return its .data file."""
    path = load_example("yolo9000/make_data").write_files(folder, train, singles, valid)
    assert isinstance(path, pathlib.Path)
    return path


def test_the_boxes_are_of_shapes_and_the_classes_of_digits(tmp_path: pathlib.Path) -> None:
    data = write(tmp_path, 4, 30, 4)
    samples = digits.load_samples()
    for subset in ("train", "valid"):
        for number, sample in enumerate(load_dataset(data, subset)):
            _, drawn = digits.render_image(samples[subset], subset, number)
            for target, digit in zip(sample.targets, drawn, strict=True):
                name = digits.CLASS_NAMES[int(digit[4])]
                expected = name if subset == "valid" else next(s for s, own in SHAPES.items() if name in own.split())
                assert NAMES[int(target[4])] == expected
                assert np.abs(target[:4] - digit[:4]).max() < 1e-6
    singles = (tmp_path / "singles.txt").read_text().split()
    assert len(singles) == 30
    assert {pathlib.PurePath(file).parts[1] for file in singles} <= {*digits.CLASS_NAMES}
    network = resume.build_network(EXAMPLE / "digits.cfg", dialect="pjreddie")
    loader, *_ = create_batches(network, data, TrainOptions(workers=0), ProcessGroup(), seed=0)
    ((_, targets),), (files,) = (batch := next(iter(loader))).pairs, batch.images
    counts: Counter[bool] = Counter()
    for target, (file,) in zip(targets, files, strict=True):
        is_single = "singles" in pathlib.PurePath(file).parts
        counts[is_single] += 1
        if is_single:
            assert target[0, 0] == 999999
            assert NAMES[int(target[0, 4])] == pathlib.PurePath(file).parts[-2]
    assert counts[True] >= 3
    assert counts[False] >= 3
    trainer = Trainer(network, options=TrainOptions())
    costs = [trainer.step(batch.pairs) for _ in range(15)]
    assert costs[-1] < 0.7 * costs[0]


@pytest.mark.slow
def test_digits_are_told_apart_without_a_box_of_any(tmp_path: pathlib.Path) -> None:
    """mAP of the ten digits, of which training has boxes of their shapes only; without other images it is a guess."""
    data = write(tmp_path, 800, 800, 200)
    without = tmp_path / "boxes.data"
    lines = data.read_text().splitlines(keepends=True)
    without.write_text("".join(line for line in lines if not line.startswith("classification")))
    maps = []
    for path, values in (
        (data, {}),
        (without, {"max_batches": "350", "steps": "275,325"}),
    ):  # as many images with boxes
        network = resume.build_network(EXAMPLE / "digits.cfg", dialect="pjreddie", values=values)
        Trainer(network, path, TrainOptions(output=tmp_path, validate=False, chart="", verbose=False)).run()
        maps.append(evaluate(network, data, classes=digits.CLASS_NAMES, progress=False).map)
    assert maps[0] > 2 * maps[1]
