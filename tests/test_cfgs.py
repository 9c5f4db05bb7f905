"""The networks of ``cfgs/``: number of floats and options as in the official files, and a comment per stage.

Floats and strides are computed here again from the text, independently of the package, and compared with the known
sizes of official .weights files, which have a header of 20 bytes.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import NamedTuple

import pytest

from darknet_py import cfg
from darknet_py.cfg import Config, Dialect, Section, schema
from darknet_py.cfg.net_section import Net
from darknet_py.layers import base
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
    "yolov4-tiny": (6_062_814, "yolov4-tiny"),
    "cspdarknet53": (27_677_512, "csdarknet53-omega"),
    "cspresnext50": (20_614_824, "csresnext50-panet-spp"),
    "digits": (231_066, ""),
}
BACKBONE_ALONE = {"cspresnext50": 81}  # how many layers the other file shares

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


class Counted(NamedTuple):
    """One layer counted from the text: channels, pixels per cell (0: a single cell), stored floats."""

    channels: int
    stride: int
    floats: int


def read(name: str) -> Config:
    return cfg.load(CFGS / f"{name}.cfg")


@functools.cache
def count(name: str) -> tuple[Counted, ...]:
    net, *sections = read(name).sections
    layers = [Counted(int(values(net)["channels"]), 1, 0)]  # the input comes first, so layer i is layers[i + 1]
    for index, section in enumerate(sections):
        layers.append(count_layer(section, index, layers))
    return tuple(layers[1:])


def count_layer(section: Section, index: int, layers: list[Counted]) -> Counted:
    given = values(section)
    channels, stride, _ = layers[-1]
    match section.name:
        case "convolutional":
            filters, size = int(given["filters"]), int(given["size"])
            per_filter = 4 if given.get("batch_normalize") == "1" else 1
            weights = filters * channels * size * size // int(given.get("groups", 1))
            return Counted(filters, stride * int(given["stride"]), filters * per_filter + weights)
        case "maxpool":
            return Counted(channels, stride * int(given["stride"]), 0)
        case "upsample":
            return Counted(channels, stride // int(given["stride"]), 0)
        case "reorg":
            return Counted(channels * int(given["stride"]) ** 2, stride * int(given["stride"]), 0)
        case "route":
            read_ones = [layers[n + 1 if n >= 0 else n + index + 1] for n in map(int, given["layers"].split(","))]
            assert len({layer.stride for layer in read_ones}) == 1
            return Counted(sum(x.channels for x in read_ones) // int(given.get("groups", 1)), read_ones[0].stride, 0)
        case "avgpool":
            return Counted(channels, 0, 0)
        case "shortcut" | "softmax" | "yolo" | "region":
            return Counted(channels, stride, 0)
    raise AssertionError(f"this test cannot count [{section.name}]")


def values(section: Section) -> dict[str, str]:
    return {entry.key: entry.value for entry in section.entries}


def official(name: str) -> Config:
    paths.require_shared()
    return cfg.load(paths.OFFICIAL / f"{NETWORKS[name][1]}.cfg")


def test_every_cfg_is_tested() -> None:
    assert {path.stem for path in CFGS.glob("*.cfg")} == set(NETWORKS)


@each_network
def test_floats_counted_from_the_text(name: str) -> None:
    assert sum(layer.floats for layer in count(name)) == NETWORKS[name][0]


@pytest.mark.parametrize(("name", "layers", "size"), WEIGHTS_FILES)
def test_official_weights_end_at_a_layer(name: str, layers: int, size: int) -> None:
    assert 20 + 4 * sum(layer.floats for layer in count(name)[:layers]) == size


@each_network
def test_the_network_stores_the_same_number_of_floats(name: str) -> None:
    net = Network(read(name), strict=True)
    stored = [sum(tensor.numel() for _, tensor in layer.stored()) for layer in net]
    assert stored == [layer.floats for layer in count(name)]
    assert [layer.shape.channels for layer in net] == [layer.channels for layer in count(name)]


@each_network
def test_sections_use_their_first_name(name: str) -> None:
    assert all(section.name == base.find(section.name).names[0] for section in read(name).sections[1:])


@pytest.mark.parametrize("name", OFFICIAL)
def test_layers_equal_those_of_the_official_file(name: str) -> None:
    ours, theirs = read(name), official(name)
    shared = BACKBONE_ALONE.get(name)
    if shared is None:
        assert len(ours.sections) == len(theirs.sections)
    stop = None if shared is None else shared + 1
    for index, (mine, other) in enumerate(zip(ours.sections[1:stop], theirs.sections[1:stop], strict=True)):
        layer = base.find(mine.name)
        assert base.find(other.name) is layer, f"layer {index}"
        options = (
            schema.read(layer.Options, section, config, dialect=Dialect.ALEXEYAB, strict=False)
            for section, config in ((mine, ours), (other, theirs))
        )
        assert next(options) == next(options), f"layer {index}"


@pytest.mark.parametrize("name", sorted(set(OFFICIAL) - BACKBONE_ALONE.keys()))
def test_net_options_equal_those_of_the_official_file(name: str) -> None:
    ours, theirs = (
        schema.read(Net, config.sections[0], config, dialect=Dialect.ALEXEYAB, strict=False)
        for config in (read(name), official(name))
    )
    if theirs.batch == 1:  # that file is set for detection; ours are set for training
        theirs = dataclasses.replace(theirs, batch=ours.batch, subdivisions=ours.subdivisions)
    assert ours == theirs


def test_classifier_is_the_backbone_of_yolov4() -> None:
    ours, theirs = read("cspdarknet53"), read("yolov4")
    assert ours.sections[1:106] == theirs.sections[1:106]


STAGE = re.compile(r"# ==== layers? (\d+)(?:-(\d+))? -> (\d+) channels, (?:stride (\d+)|1 x 1): \S")


@each_network
def test_every_stage_has_a_correct_heading_and_a_comment(name: str) -> None:
    lines = read(name).text.split("\n")
    layers = count(name)
    following = 0
    for at, line in enumerate(lines):
        if not line.startswith("# ="):
            continue
        match = STAGE.match(line)
        assert match, line
        first, last = int(match[1]), int(match[2] or match[1])
        assert first == following, line
        assert int(match[3]) == layers[last].channels, line
        assert int(match[4] or 0) == layers[last].stride, line
        assert sum(text.startswith("[") for text in lines[:at]) == first + 1, line  # [net] is not a layer
        assert re.match(r"# \w", lines[at + 1]), f"{line}: nothing said"
        following = last + 1
    assert following == len(layers)


@each_network
def test_head_of_the_file_names_paper_and_weights(name: str) -> None:
    head = read(name).text.partition("[net]")[0]
    assert re.search(r"arXiv:\d{4}\.\d{4,5}", head)
    assert re.search(r"\S+\.weights", head)


@each_network
def test_lines_are_uniform(name: str) -> None:
    text = read(name).text
    for line in text.split("\n"):
        assert re.fullmatch(r"|# \S.*\S|\[[a-z]+\]|[a-z_]+=[^\s#]+( [^\s#]+)*", line), line
        assert len(line) <= 110, line
    assert "\n\n\n" not in text
    assert text.endswith("\n")


@pytest.mark.parametrize(("name", "classes"), [("coco", 80), ("voc", 20)])
def test_names(name: str, classes: int) -> None:
    names = (CFGS / f"{name}.names").read_text().splitlines()
    assert len(names) == len(set(names)) == classes
    assert all(name == name.strip() != "" for name in names)
    assert set(names) <= set((CFGS / "coco.names").read_text().splitlines())


def test_names_are_darknets() -> None:
    path = paths.require_shared() / "data" / "coco.names"
    assert (CFGS / "coco.names").read_text().split("\n") == path.read_text().split("\n")


@each_network
def test_readme_figures(name: str) -> None:
    rows = re.findall(rf"^\| `{name}\.cfg` \|.*\| (\d+) x (\d+) \| ([\d,]+) \| ([\d.]+) \|", readme(), re.MULTILINE)
    flops = Network(read(name)).flops / 1e9
    given = values(read(name).sections[0])
    assert rows == [(given["width"], given["height"], f"{NETWORKS[name][0]:,}", f"{flops:.3f}")]


def readme() -> str:
    return (CFGS / "README.md").read_text()
