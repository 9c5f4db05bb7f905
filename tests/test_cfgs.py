"""The networks of ``cfgs/``: number of floats and options as in the official files, and a comment per stage.

Floats and strides are computed here again from the text, independently of the package, and compared with the known
sizes of official .weights files, which have a header of 20 bytes.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from typing import NamedTuple

import pytest

from darknet_py import cfg
from darknet_py.cfg import Config, Dialect, Section, schema
from darknet_py.cfg.net_section import Net
from darknet_py.layers import find
from darknet_py.network import Network
from tests.helpers import paths

CFGS = paths.CFGS

# Name, floats, and the file of AlexeyAB's that has the same layers, where one has.
NETWORKS = {
    "yolov2": (50_983_561, "yolov2"),
    "yolov3": (62_001_757, "yolov3"),
    "yolov3-spp": (63_052_381, "yolov3-spp"),
    "yolov3-tiny": (8_858_734, "yolov3-tiny"),
    "yolov4": (64_429_405, "yolov4"),
    "yolov4-csp": (52_986_205, "yolov4-csp"),
    "yolov4-paper": (65_812_875, ""),
    "yolov4-tiny": (6_062_814, "yolov4-tiny"),
    "yolov7": (36_974_557, "yolov7"),
    "cspdarknet53": (27_677_512, "csdarknet53-omega"),
    "cspresnext50": (20_614_824, "csresnext50-panet-spp"),
    "resnext50": (22_312_872, ""),
    "cspresnet50": (21_648_040, ""),
    "densenet121": (8_065_256, ""),
    "cspdensenet121": (8_179_384, ""),
    "digits": (231_066, ""),
    "digits-paper": (122_686, ""),
    "csp/dense": (62_246, ""),
    "csp/partial": (56_384, ""),
    "csp/fusion-first": (54_470, ""),
    "csp/fusion-last": (50_386, ""),
    "necks/none": (188_503, ""),
    "necks/fpn": (191_319, ""),
    "necks/fpn-p2-p6": (180_061, ""),
    "necks/pan-add": (228_695, ""),
    "necks/pan-concat": (242_135, ""),
    "necks/bifpn": (175_081, ""),
    "necks/asff": (250_200, ""),
    "necks/sfam": (267_979, ""),
    "necks/efm": (191_319, ""),
    "necks/spp": (214_935, ""),
    "necks/aspp": (270_519, ""),
    "necks/rfb": (247_095, ""),
    "necks/sam-space": (191_418, ""),
    "necks/sam-point": (200_919, ""),
    "necks/se": (196_047, ""),
    "torchvision/resnet50": (25_610_164, ""),
    "torchvision/resnet101": (44_654_516, ""),
    "torchvision/resnext50_32x4d": (25_097_140, ""),
    "torchvision/vgg16": (138_357_556, ""),
    "torchvision/densenet121": (8_065_268, ""),
    "torchvision/densenet201": (20_247_412, ""),
    "timm/cspdarknet53": (27_677_524, ""),
    "timm/cspresnext50": (20_627_380, ""),
    "timm/darknet53": (41_645_652, ""),
    "mmdetection/cspdarknet": (27_111_436, ""),
}
SHARED_LAYERS = {"cspresnext50": 81}  # number of layers that equal the official file's; others: all

# Name, layers, bytes of the official file.
WEIGHTS_FILES = [
    ("yolov2", 23, 79_327_124),
    ("yolov2", 32, 203_934_264),
    ("yolov3", 74, 162_482_580),
    ("yolov3", 107, 248_007_048),
    ("yolov3-spp", 74, 162_482_580),
    ("yolov3-tiny", 15, 30_973_396),
    ("yolov3-tiny", 24, 35_434_956),
    ("yolov4", 137, 170_038_676),
    ("yolov4", 162, 257_717_640),
    ("yolov4-csp", 142, 146_548_116),
    ("yolov4-csp", 175, 211_944_840),
    ("yolov4-tiny", 29, 19_789_716),
    ("yolov4-tiny", 38, 24_251_276),
]

each_network = pytest.mark.parametrize("name", NETWORKS)
OFFICIAL = [name for name, (_, file) in NETWORKS.items() if file]


class LayerCount(NamedTuple):
    """One layer counted from the text: channels, pixels per cell, stored floats."""

    channels: int
    stride: int
    floats: int


def read(name: str) -> Config:
    return cfg.load(CFGS / f"{name}.cfg")


@functools.cache
def count_layers(name: str) -> tuple[LayerCount, ...]:
    net, *sections = read(name).sections
    layers = [LayerCount(int(values(net)["channels"]), 1, 0)]  # the input comes first, so layer i is layers[i + 1]
    for index, section in enumerate(sections):
        layers.append(count_layer(section, index, layers, int(values(net)["width"])))
    return tuple(layers[1:])


def count_layer(section: Section, index: int, layers: list[LayerCount], width: int) -> LayerCount:
    keys = values(section)
    channels, stride, _ = layers[-1]
    match section.name:
        case "convolutional":
            filters, size = int(keys["filters"]), int(keys["size"])
            if "share_index" in keys:
                return LayerCount(filters, stride * int(keys["stride"]), 0)
            per_filter = 4 if "batch_normalize" in keys else 1
            weights = filters * channels * size * size // int(keys.get("groups", 1))
            return LayerCount(filters, stride * int(keys["stride"]), filters * per_filter + weights)
        case "batchnorm":
            return LayerCount(channels, stride, 4 * channels)
        case "maxpool" if "maxpool_depth" in keys:
            return LayerCount(int(keys["out_channels"]), stride, 0)
        case "local_avgpool" if "avgpool_depth" in keys:
            return LayerCount(1, stride, 0)
        case "maxpool" | "local_avgpool":
            return LayerCount(channels, stride * int(keys["stride"]), 0)
        case "upsample":
            return LayerCount(channels, stride // int(keys["stride"]), 0)
        case "connected":
            inputs = channels * (width // stride) ** 2
            return LayerCount(int(keys["output"]), width, int(keys["output"]) * (inputs + 1))
        case "reorg" | "reorg3d":
            return LayerCount(channels * int(keys["stride"]) ** 2, stride * int(keys["stride"]), 0)
        case "route":
            sources = [layers[n + 1 if n >= 0 else n + index + 1] for n in map(int, keys["layers"].split(","))]
            assert len({layer.stride for layer in sources}) == 1
            return LayerCount(sum(x.channels for x in sources) // int(keys.get("groups", 1)), sources[0].stride, 0)
        case "avgpool":
            return LayerCount(channels, width, 0)
        case "scale_channels" | "sam":
            number = int(keys["from"])
            return layers[number + 1 if number >= 0 else number + index + 1]._replace(floats=0)
        case "shortcut" if "weights_type" in keys:
            return LayerCount(channels, stride, 1 + len(keys["from"].split(",")))
        case "shortcut" | "softmax" | "yolo" | "region" | "activation" | "dropout":
            return LayerCount(channels, stride, 0)
    raise AssertionError(f"this test cannot count [{section.name}]")


def values(section: Section) -> dict[str, str]:
    return {entry.key: entry.value for entry in section.entries}


def official(name: str) -> Config:
    paths.require_shared()
    return cfg.load(paths.OFFICIAL / f"{NETWORKS[name][1]}.cfg")


def test_every_cfg_is_tested() -> None:
    assert {path.relative_to(CFGS).with_suffix("").as_posix() for path in CFGS.rglob("*.cfg")} == set(NETWORKS)


@each_network
def test_the_text_gives_the_expected_number_of_floats(name: str) -> None:
    assert sum(layer.floats for layer in count_layers(name)) == NETWORKS[name][0]


@pytest.mark.parametrize(("name", "layers", "size"), WEIGHTS_FILES)
def test_official_weights_end_at_a_layer(name: str, layers: int, size: int) -> None:
    assert 20 + 4 * sum(layer.floats for layer in count_layers(name)[:layers]) == size


@each_network
def test_the_network_stores_the_same_number_of_floats(name: str) -> None:
    net = Network(read(name), strict=True)
    stored = [sum(tensor.numel() for _, tensor in layer.stored()) for layer in net]
    assert stored == [layer.floats for layer in count_layers(name)]
    assert [layer.shape.channels for layer in net] == [layer.channels for layer in count_layers(name)]


@each_network
def test_sections_use_their_first_name(name: str) -> None:
    assert all(section.name == find(section.name).names[0] for section in read(name).sections[1:])


@pytest.mark.parametrize("name", OFFICIAL)
def test_layers_equal_those_of_the_official_file(name: str) -> None:
    actual, expected = read(name), official(name)
    shared = SHARED_LAYERS.get(name)
    if shared is None:
        assert len(actual.sections) == len(expected.sections)
    stop = None if shared is None else shared + 1
    for index, (first, second) in enumerate(zip(actual.sections[1:stop], expected.sections[1:stop], strict=True)):
        layer = find(first.name)
        assert find(second.name) is layer, f"layer {index}"
        options = (
            schema.read(layer.Options, section, config, dialect=Dialect.ALEXEYAB, strict=False)
            for section, config in ((first, actual), (second, expected))
        )
        assert next(options) == next(options), f"layer {index}"


@pytest.mark.parametrize("name", sorted(set(OFFICIAL) - SHARED_LAYERS.keys()))
def test_net_options_equal_those_of_the_official_file(name: str) -> None:
    actual, expected = (
        schema.read(Net, config.sections[0], config, dialect=Dialect.ALEXEYAB, strict=False)
        for config in (read(name), official(name))
    )
    if expected.batch == 1:  # the official file is set for detection, those of the package for training
        expected = dataclasses.replace(expected, batch=actual.batch, subdivisions=actual.subdivisions)
    assert actual == expected


@pytest.mark.parametrize("name", sorted(set(OFFICIAL) - SHARED_LAYERS.keys()))
def test_floats_and_operations_are_those_of_the_official_file(name: str) -> None:
    totals = json.loads((paths.GOLDEN / "totals.json").read_text())
    expected = totals[f"alexeyab/{NETWORKS[name][1]}"]
    assert (NETWORKS[name][0], f"{Network(read(name)).flops / 1e9:.3f}") == (expected["floats"], expected["bflops"])


def test_the_classifier_is_the_backbone_of_yolov4() -> None:
    classifier, detector = read("cspdarknet53"), read("yolov4")
    assert classifier.sections[1:106] == detector.sections[1:106]


STAGE = re.compile(r"# ==== layers? (\d+)(?:-(\d+))? -> (\d+) channels, (?:stride (\d+)|1 x 1): \S")


@each_network
def test_every_stage_has_a_correct_heading_and_a_comment(name: str) -> None:
    lines = read(name).text.split("\n")
    layers = count_layers(name)
    next_layer = 0
    for number, line in enumerate(lines):
        if not line.startswith("# ="):
            continue
        match = STAGE.match(line)
        assert match, line
        first, last = int(match[1]), int(match[2] or match[1])
        assert first == next_layer, line
        assert int(match[3]) == layers[last].channels, line
        assert int(match[4] or values(read(name).sections[0])["width"]) == layers[last].stride, line
        assert sum(text.startswith("[") for text in lines[:number]) == first + 1, line  # [net] is not a layer
        assert re.match(r"# \w", lines[number + 1]), f"{line}: no comment follows"
        next_layer = last + 1
    assert next_layer == len(layers)


@each_network
def test_the_head_comment_names_paper_and_weights(name: str) -> None:
    head = read(name).text.partition("[net]")[0]
    assert re.search(r"arXiv:\d{4}\.\d{4,5}", head)
    assert re.search(r"\S+\.weights", head)


@each_network
def test_lines_have_a_uniform_format(name: str) -> None:
    text = read(name).text
    for line in text.split("\n"):
        assert re.fullmatch(r"|# \S.*\S|\[[a-z0-9_]+\]|[a-z_]+=[^\s#]+( [^\s#]+)*", line), line
        assert len(line) <= 110 or line.startswith("anchors="), line
    assert "\n\n\n" not in text
    assert text.endswith("\n")


@pytest.mark.parametrize(("name", "classes"), [("coco", 80), ("voc", 20)])
def test_class_names_are_unique_and_among_those_of_coco(name: str, classes: int) -> None:
    names = (CFGS / f"{name}.names").read_text().splitlines()
    assert len(names) == len(set(names)) == classes
    assert all(name == name.strip() != "" for name in names)
    assert set(names) <= set((CFGS / "coco.names").read_text().splitlines())


def test_the_names_of_coco_equal_darknets() -> None:
    path = paths.require_shared() / "data" / "coco.names"
    assert (CFGS / "coco.names").read_text().split("\n") == path.read_text().split("\n")


@each_network
def test_the_figures_of_the_readme_are_true(name: str) -> None:
    rows = re.findall(rf"^\| `{name}\.cfg` \|.*\| (\d+) x (\d+) \| ([\d,]+) \| ([\d.]+) \|", readme(), re.MULTILINE)
    flops = Network(read(name)).flops / 1e9
    keys = values(read(name).sections[0])
    assert rows == [(keys["width"], keys["height"], f"{NETWORKS[name][0]:,}", f"{flops:.3f}")]


def readme() -> str:
    return (CFGS / "README.md").read_text()
