"""What a cfg has and C Darknet does not know is said, by ``darknet-py check``."""

from __future__ import annotations

import pathlib

import pytest

from darknet_py import cfg, cli
from darknet_py.commands.check import extension_lines
from darknet_py.layers import LAYERS, Layer, section
from darknet_py.network import Network

NET = "[net]\nwidth=8\nheight=8\nchannels=3\n"
CONV = "[convolutional]\nfilters=8\nactivation={}\n"
YOLO = CONV.format("linear") + "[yolo]\nclasses=3\nnum=1\nanchors=2,2\n"


def said(text: str) -> list[str]:
    return [line.removeprefix("note   ") for line in extension_lines(Network(cfg.loads(NET + text, "my.cfg")))]


OTHER_VALUE = "my.cfg:7: [convolutional] activation={} is not Darknet's, which takes another value"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CONV.format("softplus"), OTHER_VALUE.format("softplus")),
        (CONV.format("sigmoid"), OTHER_VALUE.format("sigmoid")),
        ("[prelu]\nshared=1\n", "my.cfg:5: [prelu] is not a section of Darknet's"),
        (YOLO + "nms_kind=wbf\n", "my.cfg:12: [yolo] nms_kind=wbf is not Darknet's, which takes another value"),
        (YOLO + "sigma_nms=.4\n", "my.cfg:12: [yolo] sigma_nms= is not a key of Darknet's, which ignores it"),
    ],
)  # fmt: skip
def test_what_c_does_not_know_is_named(text: str, expected: str) -> None:
    assert said(text) == [expected]


@pytest.mark.parametrize("text", [CONV.format("mish"), CONV.format("logistic#x"), YOLO + "nms_kind=diounms\nmax=9\n"])
def test_what_c_knows_is_not(text: str) -> None:
    assert not said(text)


def test_check_prints_it_and_finds_nothing_wrong(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my.cfg"
    path.write_text(NET + "[prelu]\n")
    assert cli.main(["check", str(path), "--strict"]) == 0
    assert "note   " + str(path) + ":5: [prelu] is not a section of Darknet's\n" in capsys.readouterr().out


def test_sections_of_plug_ins_are_named() -> None:
    @section("added")
    class Added(Layer):
        """A section that a plug-in defines."""

    try:
        assert said("[added]\n") == ["my.cfg:5: [added] is not a section of Darknet's"]
    finally:
        del LAYERS["added"]
