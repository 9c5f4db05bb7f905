"""The detectors of cfgs/necks: each neck equals its formula in plain torch."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darknet_py import Network, cfg, weights
from darknet_py.layers.heads.yolo import Yolo
from tests.helpers import paths, random_networks
from tests.helpers.plain_torch import PlainNetwork, leaky, linear

FOLDER = paths.CFGS / "necks"
Maps = list[Tensor]  # the finest first
WIDTH = 32


def build(name: str) -> Network:
    return Network(cfg.load(FOLDER / f"{name}.cfg"))


def enlarge(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def backbone(p: PlainNetwork, x: Tensor) -> Maps:
    """C2 to C5."""
    c2 = p.conv(p.conv(x, 16, 3, 2), 32, 3, 2)
    c3 = p.conv(p.conv(F.max_pool2d(c2, 2), 48, 3), 48, 3)
    c4 = p.conv(F.max_pool2d(c3, 2), 64, 3)
    return [c2, c3, c4, p.conv(F.max_pool2d(c4, 2), 96, 3)]


def predict(p: PlainNetwork, maps: Maps) -> Maps:
    """The heads' convolutions, the coarsest map first."""
    return [p.conv(p.conv(x, 32, 3), 45, norm=False, act=linear) for x in maps[::-1]]


def top_down(p: PlainNetwork, maps: Maps) -> Maps:
    """FPN's sums, the finest first."""
    sums = [p.conv(maps[-1], WIDTH, act=linear)]
    for x in maps[-2::-1]:
        sums.insert(0, p.conv(x, WIDTH, act=linear) + enlarge(sums[0]))
    return sums


def fpn(p: PlainNetwork, maps: Maps) -> Maps:
    return [p.conv(x, WIDTH, 3, act=linear) for x in top_down(p, maps)]


def bottom_up(p: PlainNetwork, maps: Maps, join: Callable[[Tensor, Tensor], Tensor]) -> Maps:
    """PAN's path back to the coarsest level."""
    outputs = [maps[0]]
    for x in maps[1:]:
        outputs.append(p.conv(join(p.conv(outputs[-1], WIDTH, 3, 2), x), WIDTH, 3))
    return outputs


def concatenate(x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([x, y], dim=1)


def pan_add(p: PlainNetwork, c3: Tensor, c4: Tensor, c5: Tensor) -> Maps:
    return bottom_up(p, fpn(p, [c3, c4, c5]), torch.add)


def pan_concat(p: PlainNetwork, c3: Tensor, c4: Tensor, c5: Tensor) -> Maps:
    levels = [p.conv(c5, WIDTH)]
    for x in (c4, c3):
        both = concatenate(p.conv(x, WIDTH), enlarge(levels[0]))
        levels.insert(0, p.conv(p.conv(both, WIDTH), WIDTH, 3))
    return bottom_up(p, levels, concatenate)


def with_fpn(
    p: PlainNetwork, c3: Tensor, c4: Tensor, c5: Tensor, block: Callable[[PlainNetwork, Tensor], Tensor]
) -> Maps:
    return fpn(p, [c3, c4, block(p, c5)])


def spp(p: PlainNetwork, x: Tensor) -> Tensor:
    x = p.conv(x, 48)
    pooled = [F.max_pool2d(x, size, 1, size // 2) for size in (7, 5, 3)]
    return p.conv(torch.cat([*pooled, x], dim=1), 96)


def aspp(p: PlainNetwork, x: Tensor) -> Tensor:
    branches = [p.conv(x, 24), *(p.conv(x, 24, 3, dilation=rate) for rate in (1, 2, 3))]
    image = p.conv(x.mean(dim=(2, 3), keepdim=True), 24)
    return p.conv(torch.cat([*branches, image.expand_as(branches[0])], dim=1), 96)


def rfb(p: PlainNetwork, x: Tensor) -> Tensor:
    branches = []
    for convolutions, rate in enumerate((1, 3, 5)):
        y = p.conv(x, 24)
        for _ in range(convolutions):
            y = p.conv(y, 24, 3)
        branches.append(p.conv(y, 24, 3, dilation=rate, act=linear))
    y = 0.1 * p.conv(torch.cat(branches, dim=1), 96, act=linear)
    return F.relu(p.conv(x, 96, act=linear) + y)


def se(p: PlainNetwork, x: Tensor, middle: int = 24) -> Tensor:
    gate = p.conv(x.mean(dim=(2, 3), keepdim=True), middle, norm=False, act=F.relu)
    return x * p.conv(gate, x.shape[1], norm=False, act=torch.sigmoid)


def sam_space(p: PlainNetwork, x: Tensor) -> Tensor:
    """CBAM: Ms(F) = sigmoid(f7x7([mean(F), max(F)]))."""
    pooled = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
    return x * p.conv(pooled, 1, 7, norm=False, act=torch.sigmoid)


def sam_point(p: PlainNetwork, x: Tensor) -> Tensor:
    return x * p.conv(x, 96, act=torch.sigmoid)


def bifpn(p: PlainNetwork, c3: Tensor, c4: Tensor, c5: Tensor) -> Maps:
    p5, p4, p3 = (p.conv(x, WIDTH, act=linear) for x in (c5, c4, c3))

    def fuse(*inputs: Tensor) -> Tensor:
        """Fast normalised fusion with the weights that are kept above 0.001."""
        w = p.vector(len(inputs)).clamp(min=0.001)
        total = sum(share * x for share, x in zip(w / (1e-4 + w.sum()), inputs, strict=True))
        assert isinstance(total, Tensor)
        depthwise = p.conv(total, WIDTH, 3, groups=WIDTH, norm=False, act=linear)
        return p.conv(depthwise, WIDTH, act=F.silu)

    for _ in range(2):
        middle = fuse(enlarge(p5), p4)
        out3 = fuse(enlarge(middle), p3)
        out4 = fuse(F.max_pool2d(out3, 3, 2, 1), middle, p4)
        p3, p4, p5 = out3, out4, fuse(F.max_pool2d(out4, 3, 2, 1), p5)
    return [p3, p4, p5]


def asff(p: PlainNetwork, c3: Tensor, c4: Tensor, c5: Tensor) -> Maps:
    levels = fpn(p, [c3, c4, c5])
    fused = []
    for target in range(3):
        maps = []
        for source, x in enumerate(levels):
            for _ in range(source - target):
                x = enlarge(x)
            if target - source == 2:
                x = F.max_pool2d(x, 3, 2, 1)
            maps.append(p.conv(x, WIDTH, 3, 2) if source < target else x)
        scores = p.conv(torch.cat([p.conv(x, 8) for x in maps], dim=1), 3, norm=False, act=linear)
        shares = scores.exp() / (1e-4 + scores.exp().sum(dim=1, keepdim=True))  # Darknet's softmax
        fused.append(p.conv(sum(shares[:, k : k + 1] * x for k, x in enumerate(maps)), WIDTH, 3))  # type: ignore[arg-type]
    return fused


def sfam(p: PlainNetwork, c3: Tensor, c4: Tensor, c5: Tensor) -> Maps:
    middle = p.conv(concatenate(c4, enlarge(p.conv(c5, WIDTH))), WIDTH)
    base = p.conv(concatenate(c3, enlarge(middle)), 48)

    def thin_u(x: Tensor) -> Maps:
        e4 = p.conv(x, WIDTH, 3, 2)
        e5 = p.conv(e4, WIDTH, 3, 2)
        d5 = p.conv(e5, 24)
        s4 = enlarge(p.conv(e5, WIDTH, 3)) + e4
        d4 = p.conv(s4, 24)
        s3 = enlarge(p.conv(s4, WIDTH, 3)) + x
        return [p.conv(s3, 24), d4, d5]

    shallow = thin_u(p.conv(base, WIDTH))
    reduced = p.conv(base, 16)
    deep = thin_u(p.conv(concatenate(shallow[0], reduced), WIDTH))
    return [se(p, concatenate(x, y), 12) for x, y in zip(shallow, deep, strict=True)]


def efm(p: PlainNetwork, c3: Tensor, c4: Tensor, c5: Tensor) -> Maps:
    q5, q4, q3 = (p.conv(x, WIDTH) for x in (c5, c4, c3))

    def fuse(*maps: Tensor) -> Tensor:
        """Maxout over the channels at the same place of each map."""
        maximum = torch.stack(maps).amax(dim=0)
        return p.conv(maximum, WIDTH, 3)

    e5 = fuse(F.max_pool2d(q4, 2), q5)
    e4 = fuse(F.max_pool2d(q3, 2), q4, enlarge(e5))
    return [fuse(q3, enlarge(e4)), e4, e5]


NECKS: dict[str, Callable[[PlainNetwork, Tensor, Tensor, Tensor], Maps]] = {
    "none": lambda p, c3, c4, c5: [c3, c4, c5],
    "fpn": lambda p, c3, c4, c5: fpn(p, [c3, c4, c5]),
    "pan-add": pan_add,
    "pan-concat": pan_concat,
    "bifpn": bifpn,
    "asff": asff,
    "sfam": sfam,
    "efm": efm,
    **{
        name: partial(with_fpn, block=block)
        for name, block in {
            "spp": spp,
            "aspp": aspp,
            "rfb": rfb,
            "se": se,
            "sam-space": sam_space,
            "sam-point": sam_point,
        }.items()
    },
}


def compare(network: Network, describe: Callable[[PlainNetwork, Tensor], Maps], folder: pathlib.Path) -> None:
    """Require equal inputs of the heads."""
    weights.save(network, folder / "x.weights")
    x = random_networks.random(2, *network.shape, low=0)
    heads = [index - 1 for index, layer in enumerate(network) if isinstance(layer, Yolo)]
    with torch.inference_mode():
        actual = network.features(x, heads)
        expected = PlainNetwork(folder / "x.weights", describe).eval()(x)
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * max(1.0, float(other.square().mean().sqrt())))


@pytest.mark.parametrize("name", NECKS)
def test_a_neck_equals_its_formula(name: str, tmp_path: pathlib.Path) -> None:
    network = random_networks.randomise(build(name)).eval()
    compare(network, lambda p, x: predict(p, NECKS[name](p, *backbone(p, x)[1:])), tmp_path)


def test_every_cfg_of_the_folder_is_compared() -> None:
    assert {path.stem for path in FOLDER.glob("*.cfg")} == {*NECKS, "fpn-p2-p6"}


@pytest.mark.parametrize("name", NECKS)
def test_backbone_and_heads_are_those_of_fpn(name: str) -> None:
    """So that a comparison of two networks is one of their necks."""
    sections = [cfg.load(FOLDER / f"{other}.cfg").sections for other in (name, "fpn")]
    texts = [[[(e.key, e.value) for e in section.entries] for section in part] for part in sections]
    assert texts[0][:9] == texts[1][:9]  # [net] and the backbone
    heads = [
        [text[i - 2 : i + 1] for i, section in enumerate(part) if section.name == "yolo"]
        for text, part in zip(texts, sections, strict=True)
    ]
    assert heads[0] == heads[1]
    assert len(heads[0]) == 3


def p2_to_p6(p: PlainNetwork, x: Tensor) -> Maps:
    levels = fpn(p, backbone(p, x))
    levels.append(levels[-1][:, :, ::2, ::2])
    first = p.conv(levels[-1], 32, 3, norm=False)
    outputs = [p.conv(first, 45, norm=False, act=linear)]
    head, out = list(p.layers)[-2:]
    for level in levels[-2::-1]:
        outputs.append(out(leaky(head(level))))
    return outputs


def test_the_pyramid_from_p2_to_p6_shares_the_parameters_of_its_heads(tmp_path: pathlib.Path) -> None:
    network = random_networks.randomise(build("fpn-p2-p6")).eval()
    compare(network, p2_to_p6, tmp_path)


def test_the_anchors_of_p2_to_p6_are_those_of_the_paper() -> None:
    """One size on each level, 32 to 512 pixels, by 1:2, 1:1 and 2:1 (https://arxiv.org/abs/1612.03144, section 4.1)."""
    network = build("fpn-p2-p6")
    heads = [layer for layer in network if isinstance(layer, Yolo)]
    strides = [network.shape.width // head.shape.width for head in heads]
    assert strides == [64, 32, 16, 8, 4]
    for head, size in zip(heads, (512, 256, 128, 64, 32), strict=True):
        values = head.options.anchors
        assert len(values) == 30
        seen = [(values[2 * k], values[2 * k + 1]) for k in head.options.mask]
        assert [round((w * h) ** 0.5) for w, h in seen] == [size] * 3
        assert [h / w for w, h in seen] == pytest.approx([0.5, 1, 2], rel=2e-3)
