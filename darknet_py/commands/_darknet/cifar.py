"""``cifar``: classifiers of CIFAR-10, whose files are in data/cifar/cifar-10-batches-bin, or where a last word says."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...errors import DataError
from .. import _training
from . import function, load_network
from .training import TRAIN_FLAGS

if TYPE_CHECKING:
    from torch import Tensor

    from ...network import Network
    from ...training.metrics import IterationMetrics

_FOLDER = "data/cifar/cifar-10-batches-bin"
_SMOOTHING = 0.1  # of the training targets
_SOFT_SHARE = 0.9  # of results/ensemble.csv in the targets of distill
_MOMENTUM = 0.95  # of the average loss
_BATCH = 100  # images per forward pass


@function("cifar train", "cfg weights? folder?", TRAIN_FLAGS)
def run_train(args: argparse.Namespace) -> int:
    """Train a classifier on CIFAR-10: cifar train CFG WEIGHTS FOLDER.

    Files are written into backup/. Images are not augmented.
    """
    return _train(args, None)


@function("cifar distill", "cfg weights? folder?", TRAIN_FLAGS)
def run_distill(args: argparse.Namespace) -> int:
    """Train on the outputs of other networks, in results/ensemble.csv: cifar distill CFG WEIGHTS FOLDER.

    A row of the file has the ten outputs for a training image, as cifar csvtrain prints them. They count for 0.9 of the
    target, the image's class for 0.1.
    """
    return _train(args, _read_csv("results/ensemble.csv"))


def _train(args: argparse.Namespace, soft: Tensor | None) -> int:
    from ...data import cifar
    from ...training.tensor_batches import TensorData

    if args.folder is None and args.weights is not None and os.path.isdir(args.weights):
        args.weights, args.folder = None, args.weights
    images = cifar.read_cifar(args.folder or _FOLDER, cifar.TRAIN_FILES)
    targets = images.one_hot(_SMOOTHING)
    if soft is not None:
        if soft.shape != targets.shape:
            raise DataError(f"results/ensemble.csv: {list(soft.shape)} numbers: expected {list(targets.shape)}")
        targets = _SOFT_SHARE * soft.float() + (1 - _SOFT_SHARE) * targets
    data = TensorData(images.pixels, targets)

    def lines(_network: Network) -> Callable[[IterationMetrics], object]:
        average: float | None = None

        def print_line(metrics: IterationMetrics) -> None:
            nonlocal average
            average = _MOMENTUM * (metrics.loss if average is None else average) + (1 - _MOMENTUM) * metrics.loss
            print(
                f"{metrics.iteration}, {metrics.images / len(targets):.3f}: {metrics.loss:f}, {average:f} avg, "
                f"{metrics.lr:f} rate, {metrics.seconds:f} seconds, {metrics.images} images",
                flush=True,
            )

        return print_line

    return _training.run_darknet_command(args, data, validate=False, line_printer=lines)


@function("cifar test", "cfg weights folder?")
def run_test(args: argparse.Namespace) -> int:
    """Compute the accuracy on CIFAR-10's test images: cifar test CFG WEIGHTS FOLDER."""
    import time

    network = load_network(args)
    pixels, classes = _test_images(args)
    started = time.perf_counter()
    score = _accuracy(_predict(network, pixels), classes)
    print(f"top1: {score:f}, {time.perf_counter() - started:f} seconds, {len(classes)} images")
    return 0


@function("cifar multi", "cfg weights folder?")
def run_multi(args: argparse.Namespace) -> int:
    """Compute the accuracy of the sum of outputs for an image and its mirror image: cifar multi CFG WEIGHTS FOLDER.

    Prints the accuracy so far after each image.
    """
    network = load_network(args)
    pixels, classes = _test_images(args)
    hits = (_predict(network, pixels) + _predict(network, pixels.flip(3))).numpy().argmax(axis=1) == classes.numpy()
    for index, total in enumerate(hits.cumsum().tolist()):
        print(f"{index:4}: {100 * total / (index + 1):.2f}%")
    return 0


def _add_csv(name: str, summary: str, training: bool) -> None:
    @function(f"cifar {name}", "cfg weights folder?")
    def run_csv(args: argparse.Namespace) -> int:
        from ...data import cifar

        network = load_network(args)
        files = cifar.TRAIN_FILES if training else cifar.TEST_FILES
        pixels, classes = cifar.read_cifar(args.folder or _FOLDER, files)
        outputs = _predict(network, pixels) * 0.5 + _predict(network, pixels.flip(3)) * 0.5
        for row in outputs.tolist():
            print(",".join(f"{value:.17g}" for value in row))
        print(f"Accuracy: {_accuracy(outputs, classes):f}", file=sys.stderr)
        return 0

    run_csv.__doc__ = f"""Print the ten outputs for each {summary} of CIFAR-10: cifar {name} CFG WEIGHTS FOLDER.

    They are the mean of those for the image and its mirror image. The accuracy is printed to stderr."""


_add_csv("csv", "test image", training=False)
_add_csv("csvtrain", "training image", training=True)


@function("cifar eval", "cfg? folder?")
def run_eval(args: argparse.Namespace) -> int:
    """Compute the accuracy of the outputs in results/combined.csv: cifar eval CFG FOLDER; CFG is not read.

    A row has the outputs for a test image, as cifar csv prints them.
    """
    outputs = _read_csv("results/combined.csv")
    classes = _test_images(args)[1]
    if len(outputs) != len(classes):
        raise DataError(f"results/combined.csv: {len(outputs)} rows: expected {len(classes)}, one for each test image")
    print(len(outputs), outputs.shape[1], file=sys.stderr)
    print(f"Accuracy: {_accuracy(outputs, classes):f}", file=sys.stderr)
    return 0


@function("cifar extract", "cfg? folder?")
def run_extract(args: argparse.Namespace) -> int:
    """Write CIFAR-10's images into data/cifar/train and data/cifar/test: cifar extract CFG FOLDER; CFG is not read.

    A file is NUMBER_CLASS.png, so that classifier train finds the class in its name.
    """
    from PIL import Image
    from tqdm import tqdm

    from ...data import cifar
    from ...files import atomic_write

    for subset, files in (("train", cifar.TRAIN_FILES), ("test", cifar.TEST_FILES)):
        images = cifar.read_cifar(args.folder or _FOLDER, files)
        os.makedirs(f"data/cifar/{subset}", exist_ok=True)
        rows = zip(images.pixels.permute(0, 2, 3, 1).numpy(), images.classes.tolist(), strict=True)
        for index, (pixels, number) in enumerate(tqdm(rows, total=len(images.classes), unit=" images", disable=None)):
            with atomic_write(f"data/cifar/{subset}/{index}_{cifar.NAMES[number]}.png") as file:
                Image.fromarray(pixels).save(file, "png")
    return 0


def _test_images(args: argparse.Namespace) -> tuple[Tensor, Tensor]:
    from ...data import cifar

    return cifar.read_cifar(args.folder or _FOLDER, cifar.TEST_FILES)


def _predict(network: Network, pixels: Tensor) -> Tensor:
    """The network's outputs for images uint8 [n, 3, 32, 32]: float32 [n, 10]."""
    import torch
    from tqdm import tqdm

    from ...data import cifar

    if tuple(network.shape) != cifar.SHAPE or network[-1].shape.floats != len(cifar.NAMES):
        raise DataError(
            f"{network.config.path}: expected a network with an input of 3 x 32 x 32 and {len(cifar.NAMES)} outputs"
        )
    parts = tqdm(pixels.split(_BATCH), unit=f" x {_BATCH} images", disable=None)
    return torch.cat([network.predict(part.float() / 255)[-1].flatten(1).cpu() for part in parts])


def _accuracy(outputs: Tensor, classes: Tensor) -> float:
    """The share of rows whose first largest output is that of the class."""
    return float((outputs.numpy().argmax(axis=1) == classes.numpy()).mean())


def _read_csv(path: str) -> Tensor:
    """Rows of numbers, float64."""
    import numpy as np
    import torch

    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return torch.from_numpy(np.loadtxt(file, delimiter=",", ndmin=2))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}: expected a file that cifar csv has printed") from error
    except ValueError as error:
        raise DataError(f"{path}: expected rows of ten numbers: {error}") from error
