"""Losses of heads that Darknet does not have, against the formulas of the papers, written with numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from darknet_py import cfg
from darknet_py.errors import ConfigError, UnusedOptionWarning
from darknet_py.layers import Gradients, Loss, Shape, StepContext, pad_targets
from darknet_py.layers.heads._box_loss import BoxLoss
from darknet_py.network import Network
from darknet_py.training.options import check_options
from tests.helpers import random_networks

Array = NDArray[np.float64]
KEYS = {"classes": "3", "num": "3", "anchors": "4,6,9,8,16,20", "ignore_thresh": ".4"}
MAP = (24, 4, 4)
BOXES = pad_targets([torch.tensor([[0.3, 0.4, 0.3, 0.2, 1], [0.7, 0.7, 0.5, 0.6, 0]]), torch.zeros(0, 5)])


def random_boxes(seed: int, low: float = 0.3, high: float = 0.7, n: int = 200) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    centre, size = (torch.rand(n, 2, generator=rng, dtype=torch.float64) for _ in range(2))
    return torch.cat((low + (high - low) * centre, 0.05 + 0.5 * size), dim=1)


def corners(boxes: Tensor) -> tuple[Array, Array, Array, Array]:
    x, y, w, h = boxes.numpy().T
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def iou_by_hand(a: Tensor, b: Tensor) -> Array:
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = corners(a), corners(b)
    width, height = np.minimum(ax2, bx2) - np.maximum(ax1, bx1), np.minimum(ay2, by2) - np.maximum(ay1, by1)
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    return np.asarray(intersection / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - intersection))


def test_eiou_is_the_formula_of_its_paper() -> None:
    a, b = random_boxes(1), random_boxes(2)
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = corners(a), corners(b)
    wc, hc = np.maximum(ax2, bx2) - np.minimum(ax1, bx1), np.maximum(ay2, by2) - np.minimum(ay1, by1)
    (x, y, w, h), (xt, yt, wt, ht) = a.numpy().T, b.numpy().T
    expected = 1 - iou_by_hand(a, b) + ((x - xt) ** 2 + (y - yt) ** 2) / (wc**2 + hc**2)
    expected += (w - wt) ** 2 / wc**2 + (h - ht) ** 2 / hc**2
    np.testing.assert_allclose(BoxLoss.EIOU.compute(a, b, a - b).numpy(), expected, rtol=1e-12)


def test_log_iou_is_minus_the_logarithm_where_boxes_overlap() -> None:
    a, b = random_boxes(1), random_boxes(2)
    overlap = iou_by_hand(a, b)
    assert (overlap < 0.01).any()
    assert (overlap > 0.5).any()
    value = BoxLoss.LOG_IOU.compute(a, b, a - b).numpy()
    np.testing.assert_allclose(value[overlap >= 0.01], -np.log(overlap[overlap >= 0.01]), rtol=1e-12)
    np.testing.assert_allclose(value[overlap == 0], 1 + np.log(100), rtol=1e-12)


def test_log_iou_is_continued_below_a_hundredth_without_a_step() -> None:
    """Two squares of side 0.3 that move apart: values, derivatives, and none of both where they are disjoint."""
    shift = torch.linspace(0.28, 0.32, 4001, dtype=torch.float64)
    a = torch.stack((0.3 + shift, torch.full_like(shift, 0.5), *(torch.full_like(shift, 0.3),) * 2), dim=1)
    b = torch.tensor([[0.3, 0.5, 0.3, 0.3]], dtype=torch.float64).expand_as(a)
    leaf = a.clone().requires_grad_()
    value = BoxLoss.LOG_IOU.compute(leaf, b, a - b)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    overlaps = shift < 0.3
    assert float(value.detach().diff().abs().max()) < 0.01
    assert float(gradient[overlaps, 0].diff().abs().max()) < 1
    assert float(gradient.abs().max()) < 1000
    assert not gradient[shift > 0.3].any()


def loss_of(keys: dict[str, str], gradients: Gradients = Gradients.DARKNET) -> tuple[Tensor, Loss]:
    """Input and loss of a head of two images, of which the second has no target."""
    layer = random_networks.layer("yolo", {**KEYS, **keys}, Shape(*MAP)).train()
    x = torch.randn(2, *MAP, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    context = StepContext(size=(32, 32), seen=10**6, gradients=gradients)
    return x, layer.loss(x, layer(x), BOXES.double(), context)


def entries(x: Tensor) -> Tensor:
    """[batch, channels, height, width] as [batch, anchors, entries, height, width]."""
    parts: Tensor = x.unflatten(1, (3, 8))
    return parts


def sigmoid_focal_loss(x: Array, t: Array, alpha: float, gamma: float) -> Array:
    """torchvision.ops.sigmoid_focal_loss without reduction; ``alpha`` below 0: none."""
    p = 1 / (1 + np.exp(-x))
    cross_entropy = -t * np.log(p) - (1 - t) * np.log(1 - p)
    p_t = p * t + (1 - p) * (1 - t)
    loss = cross_entropy * (1 - p_t) ** gamma
    return np.asarray((alpha * t + (1 - alpha) * (1 - t)) * loss if alpha >= 0 else loss)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.0, 1.0), (0.5, 0.0)])
def test_the_focal_loss_is_that_of_torchvision(alpha: float, gamma: float) -> None:
    """Targets are those of the cross-entropy, whose delta is target - p."""
    boxes_off, autograd = {"iou_normalizer": "0"}, Gradients.AUTOGRAD
    x, plain = loss_of(boxes_off, autograd)
    _, focal = loss_of({**boxes_off, "focal_alpha": str(alpha), "focal_gamma": str(gamma)}, autograd)
    logits, delta = entries(x)[:, :, 4:].numpy(), entries(plain.delta)[:, :, 4:].numpy()
    p = 1 / (1 + np.exp(-logits))
    trained = delta != 0
    target = np.where(np.isclose(delta + p, 1), 1.0, 0.0)
    np.testing.assert_allclose(delta[trained], (target - p)[trained], atol=1e-9)
    assert target[trained].sum() == 4  # objectness and class of two targets
    expected = sigmoid_focal_loss(logits[trained], target[trained], alpha or -1, gamma)
    assert float(focal.value) == pytest.approx(expected.sum(), rel=1e-9)


def test_the_focal_loss_leaves_the_boxes_to_darknets_gradient() -> None:
    deltas = [entries(loss_of({"iou_loss": "ciou", **keys})[1].delta) for keys in ({}, {"focal_gamma": "2"})]
    torch.testing.assert_close(deltas[0][:, :, :4], deltas[1][:, :, :4])
    assert float((deltas[0][:, :, 4:] - deltas[1][:, :, 4:]).abs().max()) > 0.1


def test_l1_has_gradients_of_one_size() -> None:
    x, loss = loss_of({"iou_loss": "l1", "iou_normalizer": "1"})
    delta, p = entries(loss.delta)[:, :, :4], torch.sigmoid(entries(x)[:, :, :2])
    weights = {round(2 - w * h, 4) for w, h in ((0.3, 0.2), (0.5, 0.6))}
    sizes = delta[:, :, 2:][delta[:, :, 2:] != 0].abs()
    assert {round(v, 4) for v in sizes.tolist()} == weights
    slopes = (delta[:, :, :2] / (p * (1 - p)))[delta[:, :, :2] != 0].abs()
    assert {round(v, 4) for v in slopes.tolist()} == weights


def test_max_delta_limits_the_gradient_of_boxes() -> None:
    limited, free = (loss_of({"iou_loss": "l1", **keys})[1].delta for keys in ({"max_delta": ".3"}, {}))
    assert float(entries(free)[:, :, :4].abs().max()) > 0.3
    assert float(entries(limited)[:, :, :4].abs().max()) == pytest.approx(0.3)
    torch.testing.assert_close(entries(limited)[:, :, 4:], entries(free)[:, :, 4:])


@pytest.mark.parametrize("ratio", [0.5, 3.0])
def test_hard_negatives_are_those_of_the_largest_loss_in_each_image(ratio: float) -> None:
    """Two positives in the first image; none in the second, which counts as one."""
    (_, plain), (_, mined) = loss_of({}), loss_of({"hard_negatives": str(ratio)})
    before, after = (entries(loss.delta)[:, :, 4].flatten(1) for loss in (plain, mined))
    positive = before > 0
    assert positive.sum(dim=1).tolist() == [2, 0]
    torch.testing.assert_close(before[positive], after[positive])
    for image, count in enumerate((int(np.ceil(2 * ratio)), int(np.ceil(ratio)))):
        expected = before[image][before[image] < 0].sort().values[:count]
        torch.testing.assert_close(after[image][after[image] < 0].sort().values, expected)
    others = [entries(loss.delta)[:, :, [0, 1, 2, 3, 5, 6, 7]] for loss in (plain, mined)]
    torch.testing.assert_close(*others)


def test_darknets_focal_loss_and_the_published_one_exclude_each_other() -> None:
    text = "[net]\nwidth=32\nheight=32\nchannels=3\n[conv]\nfilters=24\n[yolo]\nfocal_loss=1\nfocal_gamma=2\n"
    with pytest.warns(UnusedOptionWarning, match="focal_loss: is Darknet's focal loss"):
        network = Network(cfg.loads(text + "".join(f"{key}={value}\n" for key, value in KEYS.items())))
    with pytest.raises(ConfigError, match="expected it without focal_gamma= and focal_alpha="):
        check_options(network)
