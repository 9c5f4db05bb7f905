"""Search spaces: what a file may say, the cfg that a trial gets, and the errors, word for word."""

from __future__ import annotations

import pathlib
import re
import tomllib

import pytest

from darknet_py import cfg
from darknet_py.cfg.editing import replace_values
from darknet_py.errors import ConfigError
from darknet_py.network import Network
from darknet_py.tuning.space import Space
from darknet_py.tuning.space_file import read_space
from tests.helpers import paths

TEXT = """[net]
# the input
width=32
height=32
channels=3
learning_rate=0.001 # of the paper
momentum=0.9
max_batches=10
[convolutional]
filters=6
activation=linear
[yolo]
classes=1
num=1
anchors=4,4
ignore_thresh=.7
iou_loss=giou
[convolutional]
filters=6
activation=linear
[yolo]
classes=1
num=1
anchors=8,8
ignore_thresh=.5
"""


def read(tmp_path: pathlib.Path, space: str, text: str = TEXT) -> Space:
    path = tmp_path / "space.toml"
    path.write_text(space)
    return read_space(Network(cfg.loads(text, "my.cfg")), path)


def edited(space: Space, text: str = TEXT, **values: float | str) -> list[str]:
    """The lines of the cfg that values of the parameters change."""
    chosen = space.start | {name.replace("__", "."): value for name, value in values.items()}
    lines = replace_values(cfg.loads(text), space.edits(chosen)).split("\n")
    return [line for line in lines if line not in text.split("\n")]


@pytest.mark.parametrize("name", ["digits", "yolov2", "yolov3-tiny", "yolov4-tiny", "cspdarknet53"])
def test_the_default_space_starts_with_the_cfg_as_it_is(name: str) -> None:
    network = Network(cfg.load(paths.CFGS / f"{name}.cfg"))
    space = read_space(network)
    assert space.edits(space.start) == {}
    assert all(note.startswith("the default space: ") for note in space.notes)
    names = {parameter.name for parameter in space.parameters}
    assert {"net.learning_rate", "net.momentum", "net.decay", "net.hue", "net.mosaic"} <= names
    assert ("head.iou_thresh" in names) == (name not in ("yolov2", "cspdarknet53"))


def test_values_are_written_where_they_belong_and_comments_stay(tmp_path: pathlib.Path) -> None:
    space = read(
        tmp_path,
        "[net]\nlearning_rate = { low = 1e-4, high = 1e-2, log = true }\nburn_in = { low = 0, high = 5 }\n"
        "mosaic = { choices = [false, true] }\ndecay = 0.001\n"
        "[yolo]\nignore_thresh = { low = 0.3, high = 0.8 }\n[yolo.1]\niou_loss = { choices = ['giou', 'ciou'] }\n"
        "[head]\njitter = { low = 0.0, high = 0.4 }\n",
    )
    assert space.start == {
        "net.learning_rate": 0.001,
        "net.burn_in": 0,
        "net.mosaic": "0",
        "yolo.0.ignore_thresh": 0.7,  # the sections differ
        "yolo.1.ignore_thresh": 0.5,
        "yolo.1.iou_loss": "mse",
        "head.jitter": 0.2,
    }
    assert edited(space) == ["decay=0.001"]
    assert edited(space, net__learning_rate=0.00261) == ["learning_rate=0.00261 # of the paper", "decay=0.001"]
    assert edited(space, yolo__1__iou_loss="ciou", net__mosaic="1") == ["decay=0.001", "mosaic=1", "iou_loss=ciou"]
    assert edited(space, head__jitter=0.123456789) == ["decay=0.001", "jitter=0.123457", "jitter=0.123457"]
    jitter = next(parameter for parameter in space.parameters if parameter.name == "head.jitter")
    assert jitter.places == ((2, "jitter"), (4, "jitter"))


def test_the_space_is_extended_to_the_value_of_the_cfg(tmp_path: pathlib.Path) -> None:
    space = read(
        tmp_path,
        "[net]\nlearning_rate = { low = 0.01, high = 0.1, log = true }\nmax_batches = { choices = [20, 30] }\n"
        "momentum = { low = 0.8, high = 0.95 }\n",
    )
    rate, batches, momentum = space.parameters
    assert (rate.low, rate.high) == (0.001, 0.1)
    assert batches.choices == ("20", "30", "10")
    assert (momentum.low, momentum.high) == (0.8, 0.95)
    file = tmp_path / "space.toml"
    assert space.notes == (
        f"{file}: net.learning_rate: the range is extended to 0.001, the value of the cfg",
        f"{file}: net.max_batches: 10, the value of the cfg, is one more choice",
    )


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("", "nothing to search: expected a range such as { low = 0.8, high = 0.98 }"),
        ("[net]\ndecay = 0.1", "nothing to search: expected a range such as { low = 0.8, high = 0.98 }"),
        ("[net\n", "Expected ']' at the end of a table declaration (at line 1, column 5)"),
        ("momentum = 1", "momentum: expected a section such as [net] in front of it"),
        ("[nte]\nmomentum = 1", "nte.momentum: my.cfg has no section [nte] (did you mean 'net'?)"),
        ("[net]\nmomentom = 1", "net.momentom: [net] has no option 'momentom' (did you mean 'momentum'?)"),
        ("[yolo]\nclases = 1", "yolo.clases: layer 1 [yolo] has no option 'clases' (did you mean 'classes'?)"),
        ("[head]\nmomentum = 1", "head.momentum: no detection head of my.cfg has an option 'momentum'"),
        ("[yolo.2]\njitter = 1", "yolo.2.jitter: my.cfg has 2 of these sections: expected a number from 0 to 1"),
        ("[yolo]\n1 = 2", "yolo.1: expected the keys of a section, got 2"),
        ("[net]\nclip = 1", "net.clip: clip has no effect on this network: expected another key"),
        ("[net]\nangle = 7", "net.angle: angle has no effect on this network: expected another key"),
        ("[net]\nmomentum = [1]", "net.momentum: expected a number, text, true or false, got [1]"),
        ("[net]\nmomentum = 2", "net.momentum: momentum: expected 0..1, got '2'"),
        (
            "[net]\nmomentum = { low = 0.5, high = 1.5 }",
            "net.momentum: high: momentum: expected 0..1, got '1.5'",
        ),
        ("[net]\nmomentum = { low = 0.9, high = 0.5 }", "net.momentum: expected low below high, got 0.9 and 0.5"),
        ("[net]\nmomentum = { low = '0', high = 1 }", "net.momentum: low: expected a number, got '0'"),
        (
            "[net]\nmomentum = { low = 0.5 }",
            "net.momentum: expected the keys low, high and log, or the key choices, found low",
        ),
        (
            "[net]\nmomentum = { low = 0.5, high = 1, step = 1 }",
            "net.momentum: expected the keys low, high and log, or the key choices, found low, high, step",
        ),
        ("[net]\nmomentum = { low = 0.5, high = 1, log = 1 }", "net.momentum: log: expected true or false, got 1"),
        (
            "[net]\ndecay = { low = 0, high = 1, log = true }",
            "net.decay: low: expected a number above 0 with log = true, got 0",
        ),
        (
            "[net]\nhue = { low = 0.1, high = 1, log = true }",
            "net.hue: the cfg's own value 0 is not part of a range with log = true: expected log = false, or a value "
            "above 0 in the cfg",
        ),
        ("[net]\nbatch = { low = 1.5, high = 4 }", "net.batch: low: batch: expected an integer, got '1.5'"),
        ("[net]\nmosaic = { low = 0, high = 1 }", "net.mosaic: mosaic is not a number: expected choices = [...]"),
        ("[net]\nmosaic = { choices = [] }", "net.mosaic: choices: expected a list of values, got []"),
        (
            "[yolo]\niou_loss = { choices = ['giu'] }",
            "yolo.iou_loss: choices: iou_loss: expected one of mse, iou, giou, diou, ciou, eiou, log_iou, l1, got "
            "'giu' (did you mean 'giou'?)",
        ),
        (
            "[net]\nsteps = { choices = ['1', \"2\\n[x]\"] }",
            "net.steps: choices: steps: expected one value, got '2\\n[x]'",
        ),
        (
            "[net]\nsteps = { choices = ['1', '2'] }",
            "net.steps: choices: the cfg has no steps=: add its value to the cfg",
        ),
        (
            "[yolo]\njitter = 0.1\n[head]\njitter = { low = 0, high = 1 }",
            "head.jitter: layer 1 [yolo] has its jitter from yolo.jitter already: expected one entry for a key of a "
            "section",
        ),
    ],
)
def test_errors_name_the_place_and_what_is_expected(tmp_path: pathlib.Path, space: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, space)
    assert str(error.value).removeprefix(f"{tmp_path / 'space.toml'}: ") == message


def test_a_classifier_has_no_heads(tmp_path: pathlib.Path) -> None:
    text = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=2\n[avgpool]\n[softmax]\n"
    with pytest.raises(ConfigError, match=r"head.jitter: my.cfg has no detection head"):
        read(tmp_path, "[head]\njitter = 0.1\n", text)


def test_a_file_that_is_missing_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml: No such file"):
        read_space(Network(cfg.loads(TEXT)), tmp_path / "none.toml")


@pytest.mark.parametrize(
    "path", sorted((paths.ROOT / "examples" / "spaces").glob("*.toml")), ids=lambda path: path.stem
)
def test_example_spaces_fit_their_networks(path: pathlib.Path) -> None:
    network = Network(cfg.load(paths.CFGS / ("yolov3-spp.cfg" if path.stem == "yolov4" else "digits.cfg")))
    assert read_space(network, path).parameters


def test_the_space_of_yolov4_contains_what_the_paper_found() -> None:
    path = paths.ROOT / "examples" / "spaces" / "yolov4.toml"
    found = {"learning_rate": 0.00261, "momentum": 0.949, "iou_thresh": 0.213, "iou_normalizer": 0.07}
    comments = dict(re.findall(r"^(\w+) = .*# found: (\S+)$", path.read_text(), re.MULTILINE))
    assert {key: float(value) for key, value in comments.items()} == found
    content = tomllib.loads(path.read_text())
    for key, value in found.items():
        bounds = {**content["net"], **content["yolo"]}[key]
        assert bounds["low"] < value < bounds["high"]
    assert content["yolo"]["iou_loss"] == "giou"
