"""The losses of layers: autograd against finite differences, and Darknet's delta where it is the derivative."""

from __future__ import annotations

import pathlib

import pytest
import torch
from torch import Tensor

from darknet_py import cfg
from darknet_py.activations import Activation
from darknet_py.boxes import iou
from darknet_py.layers import Gradients, Layer, Loss, Shape, StepContext, pad_targets
from darknet_py.layers.heads._box_loss import BoxLoss
from darknet_py.layers.heads._iou import IoULoss, darknet_iou_gradient, iou_by_kind
from darknet_py.network import Network
from tests.helpers import devices, random_networks

ANCHORS = "4,6,9,8,16,20"
YOLO = {"classes": "3", "num": "3", "anchors": ANCHORS, "ignore_thresh": ".4", "iou_thresh": ".3"}
REGION = {"classes": "3", "num": "2", "anchors": "1,1,2,3"}
CELLS = {"classes": "3", "num": "2", "side": "3", "coords": "4"}
# Section, keys and shape of the input.
CASES: list[tuple[str, dict[str, str], tuple[int, int, int]]] = [
    *(("yolo", {**YOLO, "iou_loss": kind, "scale_x_y": "1.1"}, (24, 4, 5)) for kind in BoxLoss),
    *(("Gaussian_yolo", {**YOLO, "iou_loss": kind, "uc_normalizer": "0"}, (36, 4, 4)) for kind in ("eiou", "l1")),
    ("yolo", {**YOLO, "iou_loss": "eiou", "hard_negatives": "3", "truth_thresh": ".4"}, (24, 4, 4)),
    ("yolo", {**YOLO, "iou_loss": "l1", "focal_gamma": "2", "focal_alpha": ".25"}, (24, 4, 4)),
    ("yolo", {**YOLO, "iou_loss": "l1", "focal_gamma": "1.5", "new_coords": "1", "label_smooth_eps": ".1"}, (24, 4, 4)),
    ("yolo", {**YOLO, "iou_loss": "ciou", "counters_per_class": "9,3,1", "label_smooth_eps": ".1"}, (24, 4, 4)),
    ("yolo", {**YOLO, "iou_loss": "giou", "new_coords": "1", "truth_thresh": ".5"}, (24, 4, 4)),
    ("region", REGION, (16, 4, 4)),
    ("region", {**REGION, "softmax": "1", "bias_match": "1"}, (16, 4, 4)),
    ("region", {**REGION, "softmax": "1", "focal_gamma": "2", "focal_alpha": ".25"}, (16, 4, 4)),
    ("region", {**REGION, "hard_negatives": "2"}, (16, 4, 4)),
    ("detection", CELLS, (117, 1, 1)),
    ("detection", {**CELLS, "hard_negatives": "2"}, (117, 1, 1)),
    ("detection", {**CELLS, "softmax": "1", "sqrt": "1", "forced": "1"}, (117, 1, 1)),
    ("softmax", {"groups": "2", "temperature": "3"}, (6, 1, 1)),
    ("logistic", {}, (6, 1, 1)),
    *(("cost", {"type": kind, "scale": "2"}, (6, 1, 1)) for kind in ("sse", "smooth")),
    ("cost", {"ratio": ".4"}, (6, 1, 1)),
    ("contrastive", {"temperature": ".5"}, (6, 1, 1)),
]
BOXES = ("yolo", "Gaussian_yolo", "region", "detection")  # whose targets stay on the CPU
EXACT = ("region", "detection", "logistic", "cost")  # where C's delta is minus the derivative


def is_exact(name: str, keys: dict[str, str]) -> bool:
    """Whether the delta is minus the derivative: of these sections, and of boxes whose loss C does not have."""
    return name in EXACT or (name == "yolo" and keys.get("iou_loss") in ("eiou", "log_iou", "l1"))


def targets(boxes: int = 3) -> Tensor:
    rng = torch.Generator().manual_seed(5)
    rows = []
    for _ in range(4):
        centre = torch.rand(boxes, 2, generator=rng) * 0.8 + 0.1
        size = torch.rand(boxes, 2, generator=rng) * 0.5 + 0.1
        classes = torch.randint(0, 3, (boxes, 1), generator=rng)
        rows.append(torch.cat((centre, size, classes), dim=1))
    return pad_targets(rows)


def labels(x: Tensor) -> Tensor:
    hits = torch.eye(3, dtype=x.dtype)[torch.tensor([0, 1, 0, 1])]
    return torch.cat((hits, hits.flip(1)), dim=1)


def compute_loss(layer: Layer, x: Tensor, gradients: Gradients) -> Loss:
    layer.train()
    known = targets().to(x.dtype) if layer.names[0] in BOXES else labels(x.cpu()).to(x.device)
    return layer.loss(x, layer(x), known, StepContext(size=(32, 32), seen=10**6, gradients=gradients))


def inputs(shape: tuple[int, int, int], keys: dict[str, str]) -> Tensor:
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return torch.sigmoid(x) if "new_coords" in keys else x


@pytest.mark.parametrize(("name", "keys", "shape"), CASES, ids=str)
def test_autograd_is_the_derivative_of_the_value(name: str, keys: dict[str, str], shape: tuple[int, int, int]) -> None:
    layer, x = random_networks.layer(name, keys, Shape(*shape)), inputs(shape, keys)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(compute_loss(layer, leaf, Gradients.AUTOGRAD).value, leaf)
    assert float(gradient.abs().max()) > 1e-3
    for seed in range(3):
        direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
        after, before = (
            compute_loss(layer, x + step * direction, Gradients.AUTOGRAD).value.detach() for step in (1e-6, -1e-6)
        )
        expected = float((gradient * direction).sum())
        assert float(after - before) / 2e-6 == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("name", "keys", "shape"), [case for case in CASES if is_exact(*case[:2])], ids=str)
def test_delta_is_minus_the_derivative(name: str, keys: dict[str, str], shape: tuple[int, int, int]) -> None:
    layer, x = random_networks.layer(name, keys, Shape(*shape)), inputs(shape, keys)
    leaf = x.clone().requires_grad_()
    loss = compute_loss(layer, leaf, Gradients.AUTOGRAD)
    (gradient,) = torch.autograd.grad(loss.value, leaf)
    if keys.get("softmax") == "1" and name == "detection":
        gradient, delta = gradient[:, 27:], loss.delta[:, 27:]  # C leaves out the derivative of the softmax
    else:
        delta = loss.delta
    assert torch.allclose(-gradient, delta, atol=1e-9)


@pytest.mark.parametrize("gradients", Gradients)
@pytest.mark.parametrize(("name", "keys", "shape"), CASES, ids=str)
@devices.on_accelerators
def test_a_device_gives_the_losses_of_the_cpu(
    name: str, keys: dict[str, str], shape: tuple[int, int, int], gradients: Gradients, device: str
) -> None:
    values = []
    for place in ("cpu", device):
        layer, leaf = random_networks.layer(name, keys, Shape(*shape)), inputs(shape, keys).float().to(place)
        devices.move(layer, place)
        loss = compute_loss(layer, leaf.requires_grad_(), gradients)
        assert loss.delta.device.type == loss.cost.device.type == place
        tensors = [loss.cost, loss.delta, *(loss.parts[part] for part in sorted(loss.parts))]
        if gradients is Gradients.AUTOGRAD:
            tensors += [loss.value, *torch.autograd.grad(loss.value, leaf)]
        values.append([tensor.detach().cpu() for tensor in tensors])
    for value, expected in zip(*reversed(values), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


def test_objectness_and_classes_of_yolo_are_cross_entropy() -> None:
    layer, x = random_networks.layer("yolo", {**YOLO, "iou_loss": "giou"}, Shape(24, 4, 4)), inputs((24, 4, 4), {})
    leaf = x.clone().requires_grad_()
    loss = compute_loss(layer, leaf, Gradients.AUTOGRAD)
    (gradient,) = torch.autograd.grad(loss.value, leaf)
    derivative, delta = (tensor.view(4, 3, 8, 4, 4)[:, :, 4:] for tensor in (-gradient, loss.delta))
    assert torch.allclose(derivative, delta, atol=1e-9)


@pytest.mark.parametrize("kind", [IoULoss.IOU, IoULoss.GIOU])
def test_darknets_iou_gradient_is_the_derivative_with_doubled_sizes(kind: IoULoss) -> None:
    rng = torch.Generator().manual_seed(1)
    box = torch.rand(50, 4, generator=rng, dtype=torch.float64) * 0.3 + 0.35
    target = torch.rand(50, 4, generator=rng, dtype=torch.float64) * 0.3 + 0.35
    assert bool((iou(box, target) > 0).all())
    leaf = box.clone().requires_grad_()
    (derivative,) = torch.autograd.grad(iou_by_kind(leaf, target, kind).sum(), leaf)
    assert torch.allclose(
        darknet_iou_gradient(box, target, kind), derivative * torch.tensor([1.0, 1, 2, 2], dtype=torch.float64)
    )


def test_darknets_diou_gradient_differs_from_the_derivative_by_the_factors_of_the_documentation() -> None:
    rng = torch.Generator().manual_seed(0)

    def boxes() -> Tensor:
        centre, size = (torch.rand(50_000, 2, generator=rng, dtype=torch.float64) for _ in range(2))
        return torch.cat((centre * 0.8 + 0.1, size * 0.4 + 0.05), dim=1)

    box, target = boxes().requires_grad_(), boxes()
    (derivative,) = torch.autograd.grad(iou_by_kind(box, target, IoULoss.DIOU).sum(), box)
    ratio = darknet_iou_gradient(box.detach(), target, IoULoss.DIOU) / derivative
    overlaps = iou(box, target) > 0
    quantiles = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
    position, size = (ratio[overlaps, columns].flatten() for columns in (slice(0, 2), slice(2, 4)))
    assert position.quantile(quantiles).tolist() == pytest.approx([1.0, 1.21, 2.41], abs=0.03)
    assert size[torch.isfinite(size)].quantile(quantiles).tolist() == pytest.approx([0.82, 1.76, 2.41], abs=0.03)
    assert ratio[~overlaps, :2].median().item() == pytest.approx(3.5, abs=0.05)


def test_images_without_targets_give_a_finite_loss() -> None:
    empty = pad_targets([torch.zeros(0, 5)] * 2)
    for name, keys, shape in CASES:
        if name in ("yolo", "region", "detection"):
            layer = random_networks.layer(name, keys, Shape(*shape)).train()
            x = torch.zeros(2, *shape)
            loss = layer.loss(x, layer(x), empty, StepContext(size=(32, 32)))
            assert bool(loss.cost.isfinite())
            assert bool(loss.delta.isfinite().all())


@pytest.mark.parametrize("name", ["yolo", "Gaussian_yolo", "region", "detection"])
@pytest.mark.parametrize("unknown", [-1, 3])
def test_targets_of_classes_that_the_head_does_not_have_are_ignored(name: str, unknown: int) -> None:
    keys, shape = {
        "yolo": (YOLO, (24, 4, 4)),
        "Gaussian_yolo": (YOLO, (36, 4, 4)),
        "region": (REGION, (16, 4, 4)),
        "detection": (CELLS, (117, 1, 1)),
    }[name]
    x = inputs(shape, {}).float()
    layer = random_networks.layer(name, keys, Shape(*shape)).train()
    rows = torch.tensor([[0.3, 0.3, 0.2, 0.4, 1, 0], [0.7, 0.6, 0.3, 0.2, unknown, 0]])
    losses = [
        layer.loss(x, layer(x), part.expand(4, -1, -1), StepContext(size=(32, 32), seen=10**6))
        for part in (rows, rows[:1])
    ]
    assert torch.equal(losses[0].delta, losses[1].delta)
    assert float(losses[0].delta.abs().max()) > 0


def test_targets_end_at_the_first_whose_x_is_0() -> None:
    rows = torch.tensor([[0.5, 0.5, 0.1, 0.1, 1], [0, 0, 0, 0, 0], [0.2, 0.2, 0.1, 0.1, 2]])
    assert pad_targets([rows])[0, :, 4].tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match="x y w h class"):
        pad_targets([torch.zeros(3, 4)])


@pytest.mark.parametrize("name", list(Activation))
def test_only_some_activations_have_a_separate_darknet_gradient(name: Activation) -> None:
    x = torch.randn(2, 6, 3, 3, generator=torch.Generator().manual_seed(2))
    results = []
    for darknet_gradients in (False, True):
        leaf = x.clone().requires_grad_()
        y = name(leaf, darknet_gradients)
        (gradient,) = torch.autograd.grad(y.square().sum(), leaf)
        results.append((y.detach(), gradient))
    assert torch.equal(results[0][0], results[1][0])
    is_separate = name in ("gelu", "revleaky") or name.startswith("normalize_channels")
    assert torch.allclose(results[0][1], results[1][1]) != is_separate


def test_contrastive_trains_the_embeddings_that_a_head_matched() -> None:
    """Predictions matched to one identity are positives of each other; others of the class are negatives."""
    text = (
        "[net]\nwidth=8\nheight=8\nchannels=24\nbatch=2\n[yolo]\nclasses=3\nnum=3\nanchors=1,1, 2,2, 6,6\n"
        "[route]\nlayers=-2\n[conv]\nfilters=12\nactivation=linear\n[contrastive]\nyolo_layer=-3\n"
    )
    text = text.replace("[yolo]", "[conv]\nfilters=24\nactivation=linear\n[yolo]")
    net = Network(cfg.loads(text)).initialise().train()
    x = torch.rand(2, 24, 8, 8, generator=torch.Generator().manual_seed(4))
    boxes = torch.tensor([[0.2, 0.2, 0.3, 0.3, 1, 7], [0.8, 0.8, 0.3, 0.3, 1, 8]])
    known, context = pad_targets([boxes, boxes]), StepContext(size=(8, 8))
    maps = net[0](x)
    net[1].loss(maps, net[1](maps), known, context)
    z = net[3](maps)
    loss = net[4].loss(z, net[4](z), known, context)
    assert int(loss.parts["count"]) == 4
    rows = loss.delta.detach().view(2, 3, 4, 8, 8).abs().sum(dim=2)
    assert int((rows > 0).sum()) == 4


def test_classes_of_targets_are_mapped(tmp_path: pathlib.Path) -> None:
    """``map=``: line n is the head's class of a target of class n."""
    (tmp_path / "a.map").write_text("2\n0\n1\n")
    x, boxes = inputs((24, 4, 4), {}).float(), targets().float()
    mapped = boxes.clone()
    mapped[..., 4] = torch.tensor([2.0, 0.0, 1.0])[boxes[..., 4].long()]
    deltas = []
    for keys, known in (({"map": str(tmp_path / "a.map")}, boxes), ({}, mapped), ({}, boxes)):
        layer = random_networks.layer("yolo", {**YOLO, **keys}, Shape(24, 4, 4)).train()
        deltas.append(layer.loss(x, layer(x), known, StepContext(size=(32, 32))).delta)
    assert torch.equal(deltas[0], deltas[1])
    assert not torch.equal(deltas[0], deltas[2])


def test_the_cost_without_details_is_the_sum_of_squares() -> None:
    """``show_details=0``: the cost that ``forward_yolo_layer`` prints, for any loss of the boxes."""
    x, known = inputs((24, 4, 4), {}).float(), targets().float()
    costs = []
    for keys in ({"show_details": "0"}, {}):
        layer = random_networks.layer("yolo", {**YOLO, "iou_loss": "ciou", **keys}, Shape(24, 4, 4)).train()
        loss = layer.loss(x, layer(x), known, StepContext(size=(32, 32)))
        costs.append(float(loss.cost))
        squares = float(loss.delta.square().sum())
    assert costs[0] == pytest.approx(squares)
    assert costs[1] != pytest.approx(squares, rel=0.01)


@pytest.mark.parametrize(("adversarial", "classes"), [(False, [0, 0, 1, 1]), (True, [0, 1, 0, 1])])
def test_contrastive_images_without_labels_are_compared_in_pairs(adversarial: bool, classes: list[int]) -> None:
    """Images 2k and 2k + 1 are views of one image and positives; in an adversarial pass they are negatives."""
    layer = random_networks.layer("contrastive", {"temperature": ".5"}, Shape(6, 1, 1)).train()
    x = torch.randn(4, 6, 1, 1, generator=torch.Generator().manual_seed(0))
    context = StepContext(size=(1, 1), adversarial=adversarial)
    delta = layer.loss(x, layer(x), torch.zeros(4, 2), context).delta
    expected = layer.loss(x, layer(x), torch.eye(2)[classes], StepContext(size=(1, 1))).delta
    assert torch.equal(delta, expected)
    assert float(delta.abs().max()) > 0.01


@pytest.mark.parametrize("dialect", cfg.Dialect)
def test_a_class_without_a_box_trains_one_row(tmp_path: pathlib.Path, dialect: cfg.Dialect) -> None:
    """region_layer.c:208-225 of pjreddie's: the class of the most probable row; all others contain no object."""
    (tmp_path / "a.tree").write_text("animal -1\nthing -1\ncat 0\ndog 0\n")
    keys = {"classes": "4", "num": "2", "anchors": "1,1,2,3", "noobject_scale": "2", "class_scale": "3"}
    keys |= {"object_scale": "5", "tree": str(tmp_path / "a.tree")}
    layer = random_networks.layer("region", keys, Shape(18, 2, 3), dialect=dialect).train()
    x = torch.randn(1, 18, 2, 3, generator=torch.Generator().manual_seed(3))
    known = torch.tensor([[[0.5, 0.5, 0.4, 0.4, 1, 0], [999999, 999999, 999999, 999999, 3, 0]]])
    delta = layer.loss(x, layer(x), known, StepContext(size=(96, 64), seen=0)).delta
    assert delta is not None
    raw = x.view(2, 9, 2, 3).permute(0, 2, 3, 1).reshape(-1, 9)  # anchor, row, column
    objectness, groups = raw[:, 4].sigmoid(), raw[:, 5:].view(-1, 2, 2).softmax(dim=2).flatten(1)
    best = int((objectness * groups[:, 0] * groups[:, 3]).argmax())
    expected = torch.zeros_like(raw)
    if dialect is cfg.Dialect.PJREDDIE:
        expected[:, 4] = 2 * (0 - objectness) * objectness * (1 - objectness)
        expected[best, 4] = 0
    expected[best, 5:] = 3 * (torch.tensor([1.0, 0.0, 0.0, 1.0]) - groups[best])
    torch.testing.assert_close(delta.view(2, 9, 2, 3).permute(0, 2, 3, 1).reshape(-1, 9), expected)
