"""Train the backbone of a detector as a classifier, of the objects that are cut out of the detector's training images.

The paper's table 6 (arXiv:2004.10934) compares backbones that were trained on ImageNet with and without freebies.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from PIL import Image

from benchmarks.ablation_rows import Edit, apply
from darknet_py import DarknetError, Network, Trainer, TrainOptions, cfg, weights
from darknet_py.cfg import Config
from darknet_py.cfg.grammar import section_text
from darknet_py.data.formats import load_dataset
from darknet_py.training.callbacks import Callback
from darknet_py.training.resume import build_network

SMALLEST = 4  # pixels of an object that is cut out
# What only detectors have, or what the paper has for the detector only.
WITHOUT = (Edit("net", "detector_cutmix", "0"), Edit("net", "adversarial_lr", "0"), Edit("net", "mosaic", "0"))
BEHIND = "[convolutional]\nfilters={}\nsize=1\nstride=1\npad=1\nactivation=linear\n\n[avgpool]\n\n[softmax]\n"


def count_layers(config: Config) -> int:
    """Return the number of layers up to the end of the last CSP stage.

    Behind its last shortcut it has a transition, the concatenation of both parts, and a 1 x 1 convolution.

    Raises:
        DarknetError: The network has no shortcut.
    """
    shortcuts = [index for index, section in enumerate(config.sections[1:]) if section.name == "shortcut"]
    if not shortcuts:
        raise DarknetError(f"{config.path}: no [shortcut]: expected a backbone of residual stages, as CSPDarknet53's")
    return shortcuts[-1] + 4


def classifier_text(config: Config, edits: Sequence[Edit]) -> str:
    """Return the text of the cfg of a detector's backbone as a classifier of the detector's classes."""
    classes = next(
        e.value for part in config.sections if part.name == "yolo" for e in part.entries if e.key == "classes"
    )
    sections = config.sections[: 1 + count_layers(config)]
    text = "\n\n".join([*map(section_text, sections), BEHIND.format(classes)])
    return apply(cfg.loads(text, config.path), [*WITHOUT, *edits])


def write_objects(data: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Cut the objects out of the training images of a data set; return a classifier's .data file of them.

    Raises:
        DarknetError: The data set cannot be read, or has no objects.
    """
    folder.mkdir()
    dataset = load_dataset(data, "train", progress=False)
    files: list[pathlib.Path] = []
    for sample in dataset.samples:
        with Image.open(sample.image) as file:
            image = file.convert("RGB")
        for cx, cy, w, h, label in sample.targets.tolist():
            left, right = (round(min(max(cx + side * w, 0), 1) * image.width) for side in (-0.5, 0.5))
            top, bottom = (round(min(max(cy + side * h, 0), 1) * image.height) for side in (-0.5, 0.5))
            if min(right - left, bottom - top) >= SMALLEST:
                files.append(folder / f"{len(files):06d}_class{int(label):04d}_.png")
                image.crop((left, top, right, bottom)).save(files[-1])
    if not files:
        raise DarknetError(f"{data}: no objects of {SMALLEST} pixels or more in its training images")
    (folder / "train.txt").write_text("".join(f"{file}\n" for file in files), encoding="utf-8")
    names = [f"class{number:04d}_\n" for number in range(len(dataset.names))]
    (folder / "labels.txt").write_text("".join(names), encoding="utf-8")
    described = folder / "objects.data"
    described.write_text(
        f"classes={len(names)}\ntrain={folder / 'train.txt'}\nlabels={folder / 'labels.txt'}\n", encoding="utf-8"
    )
    return described


def train_options(network: Network, seed: int, output: pathlib.Path, **start: Any) -> TrainOptions:
    """Return the options of a run that prints nothing and writes its last state only; ``start``: further ones."""
    return TrainOptions(
        **start,
        seed=seed,
        output=output,
        validate=False,
        chart="",
        log="",
        verbose=False,
        workers=1,
        save_last=network.options.max_batches,
    )


def train_backbone(
    path: pathlib.Path, objects: pathlib.Path, seed: int, output: pathlib.Path, callbacks: Sequence[Callback]
) -> pathlib.Path:
    """Train a classifier's cfg on the objects of ``write_objects``; return a file of the weights of its backbone."""
    network = build_network(path, seed=seed)
    Trainer(network, objects, train_options(network, seed, output), callbacks).run()
    backbone = output / f"{path.stem}.backbone"
    weights.save(network, backbone, upto=len(network.layers) - 3)
    return backbone
