"""A section type is one file: without it, the package and everything that does not name the section still works."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from darknet_py.layers import LAYERS

PACKAGE = pathlib.Path(__file__).parents[1] / "darknet_py"

NET = "[net]\nwidth=32\nheight=32\nchannels=3\nbatch=2\nsubdivisions=1\nlearning_rate=0.001\nmax_batches=10\n"
CONVOLUTION = "[convolutional]\nfilters={}\nsize=3\nstride={}\npad=1\nactivation={}\nbatch_normalize={}\n"
BODY = CONVOLUTION.format(4, 2, "leaky", 1) + CONVOLUTION.format(8, 2, "mish", 1)
CONNECTED = "[connected]\noutput={}\nactivation=linear\n"

YOLO = BODY + CONVOLUTION.format(14, 1, "linear", 0) + "[yolo]\nclasses=2\nnum=2\nanchors=8,8,16,16\n"
REGION = BODY + CONVOLUTION.format(14, 1, "linear", 0) + "[region]\nclasses=2\nnum=2\nanchors=1,1,2,2\nsoftmax=1\n"
GRID = CONNECTED.format(28) + "[detection]\nclasses=2\nnum=1\nside=2\ncoords=4\n"
SOFTMAX = BODY + CONVOLUTION.format(3, 1, "linear", 0) + "[avgpool]\n[softmax]\n"
VECTOR = CONNECTED.format(3) + "[softmax]\n"
COST = BODY + CONVOLUTION.format(3, 1, "logistic", 0) + "[avgpool]\n[cost]\n"

# The cfgs of a detector and a classifier without a section; "" is for all other sections.
DETECTORS = {"": YOLO, "yolo": REGION, "convolutional": GRID}
CLASSIFIERS = {"": SOFTMAX, "convolutional": VECTOR, "avgpool": VECTOR, "softmax": COST}

PROGRAM = r"""
import importlib, io, os, pathlib, pkgutil, sys
import numpy as np, torch
import darknet_py as dk

folder, section, detector, classifier = pathlib.Path(sys.argv[1]), *sys.argv[2:]
assert pathlib.Path(dk.__file__).is_relative_to(folder), dk.__file__
for module in pkgutil.walk_packages(dk.__path__, "darknet_py."):
    if module.name != "darknet_py.__main__":
        importlib.import_module(module.name)
from darknet_py import cli
from darknet_py.layers import LAYERS
assert section not in LAYERS and LAYERS, section
cli.build_parser()

def network(text):
    path = folder / "a.cfg"
    path.write_text(text)
    torch.manual_seed(0)
    return dk.load(path, strict=True).initialise()

image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
x = torch.rand(2, 3, 32, 32)
for text, target in ((detector, [torch.tensor([[0.4, 0.5, 0.3, 0.2, 1.0]])] * 2), (classifier, torch.eye(3)[:2])):
    net = network(text)
    before = [p.clone() for p in net.parameters()]
    dk.Trainer(net).step([(x, target)])
    assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)), "nothing was trained"
    if net.heads:
        assert len(dk.Detector(net, threshold=0.0)(image).boxes), "no detections"
    else:
        assert len(dk.Classifier(net)(image).top(2)) == 2
    dk.export(net, folder / "a.onnx", heads="boxes" if net.heads else "raw")
    dk.save_weights(net, folder / "a.weights")
    other = dk.load(folder / "a.cfg", folder / "a.weights")
    dk.save_weights(other, folder / "b.weights")
    assert (folder / "a.weights").read_bytes() == (folder / "b.weights").read_bytes()
    with torch.inference_mode():
        assert all(map(torch.equal, net(x), other(x)))
print("done")
"""


def section_files() -> dict[str, pathlib.Path]:
    """Return the module of every section type, relative to the package, by the section's first name."""
    kinds = {kind.names[0]: kind for kind in LAYERS.values()}
    return {name: pathlib.Path(*kind.__module__.split(".")[1:]).with_suffix(".py") for name, kind in kinds.items()}


def test_there_is_a_file_for_every_section() -> None:
    files = section_files()
    assert len(set(files.values())) == len(files)
    assert all((PACKAGE / path).is_file() for path in files.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(section_files()))
def test_the_package_works_without_a_section(name: str, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "darknet_py"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / section_files()[name]).unlink()
    models = (NET + cfgs.get(name, cfgs[""]) for cfgs in (DETECTORS, CLASSIFIERS))
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), name, *models],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("done\n")
