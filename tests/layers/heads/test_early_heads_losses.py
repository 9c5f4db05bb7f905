"""Losses of ``[region]`` and ``[detection]`` that Darknet does not have: torchvision's, kornia's, and plain torch."""

from __future__ import annotations

import pathlib

import pytest
import torch
from torch import Tensor

from darknet_py import cfg
from darknet_py.cfg import Dialect
from darknet_py.errors import ConfigError, UnusedOptionWarning
from darknet_py.layers import Gradients, Loss, Shape, StepContext, pad_targets
from darknet_py.network import Network
from darknet_py.training.options import check_options
from tests.helpers import random_networks

REGION = {"classes": "3", "num": "2", "anchors": "1,1,2,3", "coord_scale": "0", "thresh": ".4"}
DETECTION = {"classes": "3", "num": "2", "side": "4", "coords": "4", "coord_scale": "0"}
BOXES = pad_targets([torch.tensor([[0.3, 0.4, 0.3, 0.2, 1], [0.7, 0.7, 0.5, 0.6, 0]]), torch.zeros(0, 5)])
SEEN = 10**6


def loss_of(
    section: str, keys: dict[str, str], dialect: Dialect = Dialect.ALEXEYAB, boxes: Tensor = BOXES
) -> tuple[Tensor, Loss]:
    """Input and loss of a head of two images, of which the second has no target."""
    shape = (2 * (5 + int(keys["classes"])), 4, 4) if section == "region" else (16 * (2 * 5 + 3), 1, 1)
    layer = random_networks.layer(section, keys, Shape(*shape), dialect=dialect).train()
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    context = StepContext(size=(32, 32), seen=SEEN, gradients=Gradients.AUTOGRAD)
    return x, layer.loss(x, layer(x), boxes.double(), context)


def entries(x: Tensor) -> Tensor:
    """[batch, channels, height, width] of ``[region]`` as [batch, anchors, entries, height, width]."""
    parts: Tensor = x.unflatten(1, (2, -1))
    return parts


def objectness(section: str, x: Tensor) -> Tensor:
    """Objectness, or its delta, as [batch, boxes]."""
    return entries(x)[:, :, 4].flatten(1) if section == "region" else x.flatten(1)[:, 48:80]


# alpha, gamma, and the sums over the rows that are trained of torchvision.ops.sigmoid_focal_loss (0.28) of objectness
# and of classes, and of kornia.losses.focal_loss (0.9) of classes, with a background of logit -10000 as class 0.
PUBLISHED = [
    (0.25, 2.0, 20.63634902981347, 0.5110810956277322, 0.1490715282324461),
    (0.0, 1.0, 38.26998836848924, 1.755921325301006, 1.013896916573894),
    (0.5, 0.0, 28.392771456270395, 1.8652875528529258, 0.8680442263240202),
]


@pytest.mark.parametrize(("alpha", "gamma", "of_objectness", "of_sigmoids", "of_softmax"), PUBLISHED)
@pytest.mark.parametrize("softmax", [False, True])
def test_the_focal_loss_of_region_is_that_of_torchvision_and_kornia(
    alpha: float, gamma: float, of_objectness: float, of_sigmoids: float, of_softmax: float, softmax: bool
) -> None:
    keys = {**REGION, "focal_alpha": str(alpha), "focal_gamma": str(gamma), "softmax": str(int(softmax))}
    _, loss = loss_of("region", keys, Dialect.PJREDDIE)
    assert float(loss.value) == pytest.approx(of_objectness + (of_softmax if softmax else of_sigmoids), rel=1e-9)


def test_the_focal_loss_of_region_reaches_logits_whose_sigmoid_is_1() -> None:
    """The squared error has no gradient there."""
    layer = random_networks.layer("region", {**REGION, "softmax": "1", "focal_gamma": "2"}, Shape(16, 4, 4)).train()
    x = torch.full((1, 16, 4, 4), 40.0)
    delta = layer.loss(x, layer(x), BOXES[1:], StepContext(size=(32, 32), seen=SEEN)).delta
    assert objectness("region", delta).unique().tolist() == [-1.0]


def test_darknets_focal_loss_of_a_softmax_is_the_published_one() -> None:
    """With alpha 0.5 and gamma 2; of the classes only."""
    keys = {**REGION, "softmax": "1"}
    _, darknets = loss_of("region", {**keys, "focal_loss": "1"})
    _, published = loss_of("region", {**keys, "focal_gamma": "2", "focal_alpha": ".5"})
    classes = [entries(loss.delta)[:, :, 5:] for loss in (darknets, published)]
    assert int((classes[0] != 0).sum()) == 6
    torch.testing.assert_close(*classes, rtol=1e-9, atol=1e-12)


def test_the_focal_loss_of_a_tree_is_that_of_each_class_on_the_path(tmp_path: pathlib.Path) -> None:
    """Of a poodle: among animal and vehicle, among dog and cat, among terrier and poodle."""
    (tmp_path / "a.tree").write_text("animal -1\nvehicle -1\ndog 0\ncat 0\ncar 1\nterrier 2\npoodle 2\n")
    keys = {**REGION, "classes": "7", "tree": str(tmp_path / "a.tree"), "noobject_scale": "0", "object_scale": "0"}
    boxes = pad_targets([torch.tensor([[0.3, 0.4, 0.3, 0.2, 6]]), torch.zeros(0, 5)])
    x, plain = loss_of("region", keys, boxes=boxes)
    _, focal = loss_of("region", {**keys, "focal_gamma": "1.5", "focal_alpha": ".25"}, boxes=boxes)
    ((image, anchor, row, column),) = (entries(plain.delta) != 0).any(dim=2).nonzero().tolist()
    logits = entries(x)[image, anchor, 5:, row, column]
    expected = 0.0
    for group, member in (([0, 1], 0), ([2, 3], 0), ([5, 6], 1)):
        log_p = logits[group].log_softmax(dim=0)[member]
        expected += float(-0.25 * (1 - log_p.exp()) ** 1.5 * log_p)
    assert float(focal.value) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("ratio", [0.5, 3.0])
@pytest.mark.parametrize(("section", "keys"), [("region", REGION), ("detection", DETECTION)])
def test_hard_negatives_are_those_of_the_largest_loss_in_each_image(
    section: str, keys: dict[str, str], ratio: float
) -> None:
    """Two positives in the first image; none in the second, which counts as one."""
    x, plain = loss_of(section, keys)
    _, mined = loss_of(section, {**keys, "hard_negatives": str(ratio)})
    before, after = (objectness(section, loss.delta) for loss in (plain, mined))
    output = objectness(section, x)
    p = torch.sigmoid(output) if section == "region" else output
    slope = p * (1 - p) if section == "region" else torch.ones_like(p)
    negative = torch.isclose(before, -p * slope)
    positive = torch.isclose(before, (1 - p) * slope)
    assert positive.sum(dim=1).tolist() == [2, 0]
    for image, positives in enumerate((2, 1)):
        losses = p[image].square() * negative[image]
        hardest = losses.topk(int(-(-positives * ratio // 1))).indices
        expected = torch.where(positive[image], before[image], 0.0)
        expected[hardest] = before[image, hardest]
        torch.testing.assert_close(after[image], expected)


def test_a_positive_is_trained_whatever_its_target() -> None:
    """With ``rescore=1`` the target of a box of size 0 is 0, as that of negatives."""
    layer = random_networks.layer("detection", {**DETECTION, "rescore": "1", "hard_negatives": "1"}, Shape(208, 1, 1))
    x = torch.zeros(1, 208, 1, 1)
    x[0, 48:80, 0, 0] = torch.arange(1, 33) / 32
    boxes = pad_targets([torch.tensor([[0.1, 0.1, 0.1, 0.1, 1]])])
    delta = layer.train().loss(x, layer(x), boxes, StepContext(size=(32, 32), seen=SEEN)).delta
    assert objectness("detection", delta)[0].nonzero()[:, 0].tolist() == [0, 31]


def network(section: str, filters: int, keys: dict[str, str]) -> Network:
    text = f"[net]\nwidth=4\nheight=4\nchannels=3\n[conv]\nfilters={filters}\n[{section}]\n"
    return Network(cfg.loads(text + "".join(f"{key}={value}\n" for key, value in keys.items())))


def test_a_focal_loss_needs_probabilities() -> None:
    """Class scores of AlexeyAB's ``[region]`` without softmax and all outputs of ``[detection]`` are linear."""
    expected = "expected 1 with focal_gamma= or focal_alpha=: without it, class scores are not probabilities"
    with pytest.warns(UnusedOptionWarning, match=expected):
        net = network("region", 16, {**REGION, "focal_gamma": "2"})
    with pytest.raises(ConfigError, match=expected):
        check_options(net)
    with pytest.warns(UnusedOptionWarning, match="focal_gamma: .*unknown"):
        network("detection", 13, {**DETECTION, "focal_gamma": "2"})


def test_darknets_focal_loss_and_the_published_one_exclude_each_other() -> None:
    with pytest.warns(UnusedOptionWarning, match="focal_loss: is Darknet's focal loss"):
        net = network("region", 16, {**REGION, "softmax": "1", "focal_loss": "1", "focal_alpha": ".25"})
    with pytest.raises(ConfigError, match="expected it without focal_gamma= and focal_alpha="):
        check_options(net)
