"""Recurrent networks are functions of a sequence of images, whatever the batch size and what ran before."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import darknet_py
from darknet_py.classifier import Classifier
from darknet_py.data.dataset import Dataset, Sample
from darknet_py.detector import Detector
from darknet_py.evaluation.accuracy import evaluate_accuracy
from darknet_py.evaluation.detections import Detections, collect
from darknet_py.evaluation.recall import recall_lines
from darknet_py.images.reading import ImageSource
from darknet_py.network import Network
from darknet_py.results.results import Results
from darknet_py.tiling import TiledDetector
from darknet_py.video.reader import Frame, detect_video
from tests.helpers import random_networks

DETECTOR = """
[net]
width=32
height=32
channels=3
time_steps=4
[convolutional]
filters=8
size=3
stride=4
pad=1
activation=leaky
[{section}]
batch_normalize=1
size=3
pad=1
output=8
{keys}
activation=leaky
[convolutional]
filters=21
size=1
activation=linear
[yolo]
mask=0,1,2
anchors=10,14, 20,26, 30,40
classes=2
num=3
"""
CLASSIFIER = """
[net]
width=16
height=16
channels=3
[rnn]
hidden=6
output=4
[softmax]
"""


@pytest.fixture(params=["conv_lstm", "crnn"])
def net(request: pytest.FixtureRequest) -> Network:
    keys = "peephole=0" if request.param == "conv_lstm" else "hidden=8"
    return random_networks.network(DETECTOR.format(section=request.param, keys=keys))


@pytest.fixture
def images() -> list[ImageSource]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 48, 3), np.uint8) for _ in range(8)]


@pytest.fixture
def dataset(images: list[ImageSource], tmp_path: pathlib.Path) -> Dataset:
    for number, image in enumerate(map(np.asarray, images)):
        Image.fromarray(image).save(tmp_path / f"{number}a.png")
    target = np.array([[0.5, 0.5, 0.4, 0.4, 0]], np.float32)
    return Dataset(
        tuple(Sample(str(tmp_path / f"{number}a.png"), target, target[:0]) for number in range(8)), ("a", "b")
    )


def detector(net: Network, batch: int = 1, engine: str = "torch") -> Detector:
    return Detector(net, threshold=0.3, batch=batch, engine=engine)


def rows(results: list[Results]) -> Tensor:
    boxes = [torch.cat((r.boxes.xywhn, r.boxes.conf[:, None]), dim=1) for r in results]
    assert sum(map(len, boxes)) > 20
    return torch.cat(boxes)


@pytest.mark.parametrize("engine", ["torch", "plain", "auto"])
def test_boxes_do_not_depend_on_the_batch_size(engine: str, net: Network, images: list[ImageSource]) -> None:
    expected = rows(detector(net)(images))
    for batch in (8, 3):
        torch.testing.assert_close(rows(detector(net, batch, engine)(images)), expected)


def test_every_source_starts_a_sequence(net: Network, images: list[ImageSource]) -> None:
    run = detector(net, 2)
    expected = rows(run(images))
    assert torch.equal(rows(list(run.stream(images))), expected)
    assert torch.equal(rows(list(run.stream(iter(images), workers=2))), expected)
    run.reset()
    assert torch.equal(rows([run(image) for image in images]), expected)
    assert not torch.equal(rows([run(image) for image in images]), expected)  # the sequence goes on


def test_a_second_video_does_not_continue_the_first(net: Network, images: list[ImageSource]) -> None:
    def frames() -> Iterator[Frame]:
        return (Frame(number, number / 10, np.asarray(image)) for number, image in enumerate(images))

    run = detector(net)
    first, second = ([result for _, result in detect_video(run, frames())] for _ in range(2))
    assert torch.equal(rows(first), rows(second))


def test_tiles_of_an_image_do_not_depend_on_earlier_images(net: Network, images: list[ImageSource]) -> None:
    run = TiledDetector(detector(net, 4))
    alone = rows([run(images[3])])
    assert torch.equal(rows(list(run.stream(images))[3:4]), alone)
    torch.testing.assert_close(rows([TiledDetector(detector(net))(images[3])]), alone)


def test_evaluation_depends_on_its_images_alone(net: Network, dataset: Dataset) -> None:
    def detections(batch: int) -> Detections:
        return collect(net, dataset, threshold=0.3, batch=batch, progress=False)

    expected = detections(1)
    assert len(expected) > 20
    for batch in (1, 8, 3):
        assert np.array_equal(detections(batch).confidence, expected.confidence)
    net(torch.rand(1, *net.shape))
    states = [layer.state for layer in net if layer.stateful]
    assert list(recall_lines(net, dataset)) == list(recall_lines(net, dataset))
    assert np.array_equal(detections(8).confidence, expected.confidence)
    assert [layer.state for layer in net if layer.stateful] == states  # as it was before


def test_map_does_not_depend_on_the_batch_size(net: Network, dataset: Dataset) -> None:
    assert len({darknet_py.evaluate(net, dataset, batch=batch, progress=False).map50 for batch in (1, 1, 8, 8)}) == 1


def test_classifiers_of_sequences(images: list[ImageSource], dataset: Dataset) -> None:
    net = random_networks.network(CLASSIFIER)
    expected = torch.stack([result.probs for result in Classifier(net)(images)])
    run = Classifier(net, batch=8)
    for _ in range(2):
        torch.testing.assert_close(torch.stack([result.probs for result in run(images)]), expected)
    run.reset()
    torch.testing.assert_close(torch.stack([run(image).probs for image in images]), expected)
    paths = [sample.image for sample in dataset.samples]
    labels = ["0a", "1a", "2a", "3a"]
    scores = [list(evaluate_accuracy(net, paths, labels, k=2, batch=batch)) for batch in (1, 1, 8)]
    assert scores[0] == scores[1] == scores[2]
