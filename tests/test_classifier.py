from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
import torch
from PIL import Image

from darknet_py import loading
from darknet_py.classifier import Classifier
from darknet_py.errors import DataError
from darknet_py.evaluation.accuracy import EvalTransform, evaluate_accuracy
from darknet_py.images import resizing
from darknet_py.images.reading import read_image
from darknet_py.network import Network
from tests.helpers import reference_values

_CFG = """
[net]
width=32
height=32
channels=3
[convolutional]
filters=16
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=6
size=1
activation=linear
[avgpool]
[softmax]
groups=1
"""


def _network(tmp_path: pathlib.Path, text: str = _CFG, dialect: str = "alexeyab") -> Network:
    path = tmp_path / "tiny.cfg"
    path.write_text(text)
    torch.manual_seed(3)
    network = loading.load(path, dialect=dialect)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4)
    return network


@pytest.fixture
def images(tmp_path: pathlib.Path) -> list[str]:
    rng = np.random.default_rng(5)
    paths = []
    for number in range(7):
        size = (int(rng.integers(40, 90)), int(rng.integers(40, 90)), 3)
        path = tmp_path / f"n{number % 3}_{number}.png"
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(path)
        paths.append(str(path))
    return paths


def test_top_returns_the_most_probable_classes(tmp_path: pathlib.Path, images: list[str]) -> None:
    classifier = Classifier(
        _network(tmp_path), names=["zero", "one", "two", "three", "four", "five", "beyond"], batch=3
    )
    results = classifier(list(images))
    assert [result.path for result in results] == images
    for result in results:
        rows = result.top(4)
        assert [prob for *_, prob in rows] == sorted((prob for *_, prob in rows), reverse=True)
        assert float(result.probs.sum()) == pytest.approx(1)
        number, name, prob = rows[0]
        assert name == ("zero", "one", "two", "three", "four", "five")[number]
        assert str(result).split("\n")[0] == f"{name}: {prob:f}"
        assert result.to_text(1, "pjreddie") == f"{100 * prob:5.2f}%: {name}"
        assert json.loads(result.to_json(2))["classes"][0]["class"] == number
    single = classifier(images[4])
    torch.testing.assert_close(single.probs, results[4].probs)


def test_equal_probabilities_keep_the_order_of_classes(tmp_path: pathlib.Path, images: list[str]) -> None:
    network = _network(tmp_path)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert [number for number, *_ in Classifier(network)(images[0]).top(6)] == list(range(6))


def test_preprocessing_follows_the_dialect(tmp_path: pathlib.Path, images: list[str]) -> None:
    image = read_image(images[0])
    planes = resizing.to_tensor(image)
    for dialect, fit in (("alexeyab", resizing.centre_crop), ("pjreddie", resizing.letterbox_image)):
        classifier = Classifier(_network(tmp_path, dialect=dialect))
        torch.testing.assert_close(classifier.prepare(image), fit(planes, 32, 32))
    whole = Classifier(_network(tmp_path), letterbox=True).prepare(image)
    torch.testing.assert_close(whole, resizing.letterbox_image(planes, 32, 32))


def test_a_tree_multiplies_along_the_path(tmp_path: pathlib.Path, images: list[str]) -> None:
    (tmp_path / "my.tree").write_text("animal -1\nthing -1\ndog 0\ncat 0\ncar 1\nbus 1\n")
    network = _network(tmp_path, _CFG.replace("groups=1", f"groups=1\ntree={tmp_path / 'my.tree'}"))
    names = ["animal", "thing", "dog", "cat", "car", "bus"]
    result = Classifier(network, names=names)(images[0])
    probs = result.probs.tolist()
    assert probs[0] + probs[1] == pytest.approx(1)
    assert probs[2] + probs[3] == pytest.approx(probs[0])
    assert ", parent: Root " in result.to_text(6)
    assert f"2, dog: {probs[2]:f}, parent: animal " in result.to_text(6).split("\n")
    leaves = Classifier(network, names=names, leaves=True)(images[0]).probs.tolist()
    assert leaves == pytest.approx([0, 0, *probs[2:]])


@pytest.mark.parametrize("view", list(EvalTransform))
def test_accuracy_takes_the_class_from_the_path(
    tmp_path: pathlib.Path, images: list[str], view: EvalTransform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darknet_py.evaluation.accuracy._SIDES", (24, 40))
    network = _network(tmp_path)
    labels = [f"n{number}_" for number in range(6)]
    results = list(evaluate_accuracy(network, images, labels, k=3, view=view, batch=3))
    assert [result.images for result in results] == list(range(1, 8))
    alone = list(evaluate_accuracy(network, images, labels, k=3, view=view, batch=1, workers=0))
    assert results == alone
    assert list(evaluate_accuracy(network, images, labels, k=6, view=view))[-1].topk == 1
    last = results[-1]
    assert str(last) == f"6: top 1: {last.top1:f}, top 3: {last.topk:f}"
    if view is EvalTransform.VALID:
        preds = Classifier(network)(list(images))
        correct = [result.top(1)[0][0] == number % 3 for number, result in enumerate(preds)]
        assert last.top1 == pytest.approx(sum(correct) / 7)


def test_images_without_a_label_are_wrong_and_reported(
    tmp_path: pathlib.Path, images: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    network = _network(tmp_path)
    labels = [pathlib.Path(images[0]).stem, *(f"none{n}" for n in range(5))]
    results = list(evaluate_accuracy(network, images, labels, k=6))
    assert results[-1].topk == pytest.approx(1 / len(images))
    others = len(images) - 1
    first = f"{images[1]}: none of the labels occurs in this path; counted as wrong"
    assert f"{others} images have no label in their path and count as wrong; the first: {first}" in caplog.messages
    with pytest.raises(DataError, match="nothing to evaluate: none of the 6 labels occurs in the paths of"):
        list(evaluate_accuracy(network, images, [f"none{n}" for n in range(6)]))


def test_invalid_arguments_are_refused(tmp_path: pathlib.Path, images: list[str]) -> None:
    network = _network(tmp_path)
    with pytest.raises(DataError, match="2 class names, but the network has 6 classes"):
        Classifier(network, names=["a", "b"])
    with pytest.raises(DataError, match=r"top: expected 1\.\.6, got 7"):
        next(evaluate_accuracy(network, images, ["a"] * 6, k=7))
    with pytest.raises(DataError, match="1 labels, but the network has 6 classes"):
        next(evaluate_accuracy(network, images, ["a"]))


# The five lines that C Darknet prints for `classifier predict` (AlexeyAB), and pjreddie's, with the weights of
# conformance/alexeyab/darknet.json.gz, on noise that is the same on every machine.
_ALEXEYAB = {177: 0.023421, 401: 0.018289, 480: 0.017543, 158: 0.016266, 587: 0.014328}
_PJREDDIE = {177: 2.07, 158: 1.46, 480: 1.45, 401: 1.35, 714: 1.25}


@pytest.mark.parametrize(
    ("dialect", "seed", "size", "expected"),
    [("alexeyab", 100, (300, 200), _ALEXEYAB), ("pjreddie", 101, (200, 300), _PJREDDIE)],
)
def test_predictions_equal_cs(
    shared: pathlib.Path,
    tmp_path: pathlib.Path,
    dialect: str,
    seed: int,
    size: tuple[int, int],
    expected: dict[int, float],
) -> None:
    cfg = shared / "conformance" / "alexeyab" / "darknet.cfg"
    reference_values.write_weights(reference_values.load(cfg.with_suffix(".json.gz")), tmp_path / "darknet.weights")
    noise = reference_values.uniform(seed, 0, 8 * 8 * 3).reshape(8, 8, 3)
    image = Image.fromarray((noise * 255.99).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    network = loading.load(cfg, tmp_path / "darknet.weights", dialect=dialect)
    probs = {number: prob for number, _, prob in Classifier(network)(image).top(5)}
    assert list(probs) == list(expected)
    unit, error = (1, 2e-6) if dialect == "alexeyab" else (100, 0.006)
    for number, prob in expected.items():
        assert unit * probs[number] == pytest.approx(prob, abs=error)
