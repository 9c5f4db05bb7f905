"""``benchmarks.ablation_backbone``: the backbone of a detector, trained as a classifier of the detector's objects."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.ablation_backbone import classifier_text, count_layers, train_backbone, write_objects
from benchmarks.ablation_rows import CLASSIFIER_FREEBIES, Edit
from darknet_py import DarknetError, Network, cfg, weights
from tests.helpers import paths

CFGS = paths.ROOT / "cfgs"


@pytest.mark.parametrize(("name", "layers"), [("digits-paper", 21), ("yolov4-paper", 105), ("yolov4", 105)])
def test_the_backbone_ends_with_the_last_stage(name: str, layers: int) -> None:
    """105 layers are those of cspdarknet53.cfg before its 1000 classes."""
    config = cfg.load(CFGS / f"{name}.cfg")
    assert count_layers(config) == layers
    network = Network(cfg.loads(classifier_text(config, CLASSIFIER_FREEBIES)), strict=True)
    assert len(network.layers) == layers + 3
    assert network.options.cutmix
    assert network.options.mosaic
    assert network.options.label_smooth_eps == 0.1
    assert not network.options.adversarial_lr
    assert not network.options.detector_cutmix


def test_a_network_without_residual_stages_is_refused() -> None:
    with pytest.raises(DarknetError, match=r"digits\.cfg: no \[shortcut\]: expected a backbone of residual stages"):
        count_layers(cfg.load(CFGS / "digits.cfg"))


@pytest.fixture
def objects(tmp_path: pathlib.Path) -> pathlib.Path:
    """A red object of class 1, 8 x 12 pixels, and a blue one of class 0, of which one half is in the image."""
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[10:22, 20:28] = 255, 0, 0
    pixels[30:40, 60:70] = 0, 0, 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    lines = [f"1 {24 / 80} {16 / 40} {8 / 80} {12 / 40}", f"0 {65 / 80} 1.0 {10 / 80} {20 / 40}", "0 .5 .5 .01 .01"]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    (tmp_path / "train.txt").write_text(f"{tmp_path / 'a.png'}\n")
    (tmp_path / "a.names").write_text("zero\none\n")
    (tmp_path / "a.data").write_text(f"train={tmp_path / 'train.txt'}\nnames={tmp_path / 'a.names'}\nclasses=2\n")
    return write_objects(tmp_path / "a.data", tmp_path / "objects")


def test_objects_are_cut_out_of_their_images(objects: pathlib.Path) -> None:
    files = (objects.parent / "train.txt").read_text().split()
    assert [pathlib.Path(file).name for file in files] == ["000000_class0001_.png", "000001_class0000_.png"]
    red, blue = (np.asarray(Image.open(file)) for file in files)
    assert red.shape == (12, 8, 3)
    assert (red == (255, 0, 0)).all()
    assert blue.shape == (10, 10, 3)
    assert (blue == (0, 0, 255)).all()
    assert (objects.parent / "labels.txt").read_text().split() == ["class0000_", "class0001_"]


def test_a_detector_starts_from_the_classifiers_backbone(objects: pathlib.Path, tmp_path: pathlib.Path) -> None:
    config = cfg.load(CFGS / "digits-paper.cfg")
    path = tmp_path / "classifier.cfg"
    short = Edit("net", "max_batches", "1"), Edit("net", "burn_in", "0"), Edit("net", "batch", "4")
    path.write_text(classifier_text(config, short).replace("filters=10\n", "filters=2\n"))
    start = train_backbone(path, objects, 0, tmp_path / "out", [])
    detector = Network(config).initialise()
    before = dict(detector[0].stored())["weights"].clone()
    weights.load(detector, start, upto=21)
    floats = sum(array.numel() for layer in detector[:21] for _, array in layer.stored())
    assert start.stat().st_size == 20 + 4 * floats
    assert not torch.equal(dict(detector[0].stored())["weights"], before)
