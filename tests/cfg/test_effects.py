"""Options are reported, and read by the code, as their declared ``effect`` says."""

from __future__ import annotations

import ast
import dataclasses
import functools
import pathlib
import typing
import warnings
from typing import Any

import pytest

import darknet_py
from darknet_py import cfg
from darknet_py.cfg import Dialect, schema
from darknet_py.cfg.net_section import Net
from darknet_py.cli import main
from darknet_py.errors import ConfigError
from darknet_py.layers import LAYERS, Layer
from darknet_py.training.options import TrainOptions

PACKAGE = pathlib.Path(darknet_py.__file__).parent
SECTIONS: list[tuple[str, type[schema.Options]]] = [
    ("net", Net),
    ("dropout", Layer.Options),
    *((kind.names[0], kind.Options) for kind in sorted(set(LAYERS.values()), key=lambda kind: kind.names)),
]
REASONS = {"none": "has no effect", "unsupported": "not supported, ignored"}
NETWORK = "[net]\nwidth=32\nheight=32\nchannels=3\n{}[convolutional]\nfilters=18\n{}[yolo]\nclasses=1\nnum=3\n{}"
NETWORK += "anchors=1,2,3,4,5,6\n"


def declared(*effects: str) -> list[tuple[str, type[schema.Options], str]]:
    """Section, options and key of every option declared with one of ``effects``, common ones once."""
    common = schema.keys(Layer.Options)
    return [
        (section, options, key)
        for section, options in SECTIONS
        for key, known in schema.keys(options).items()
        if known.metadata["effect"] in effects and (options in (Net, Layer.Options) or key not in common)
    ]


def read(
    section: str, options: type[schema.Options], text: str, *, strict: bool = False
) -> list[schema.IneffectiveOption]:
    config = cfg.loads(f"[{section}]\n{text}\n", "x.cfg")
    values = schema.read(options, config.sections[0], config, dialect=Dialect.ALEXEYAB, strict=strict)
    return list(schema.ineffective_options(config, [values]))


def other_value(options: type[schema.Options], key: str) -> str:
    default: Any = schema.keys(options)[key].default
    if isinstance(default, tuple):
        return "-1"
    return str(int(not default) if isinstance(default, bool) else default + 1)


def test_options_without_effect_are_declared() -> None:
    """Darknet reads these too and computes the same with any value of them."""
    assert {(section, key) for section, _, key in declared("none")} == {
        *(("yolo", key) for key in ("track_history_size", "sim_thresh", "dets_for_track", "dets_for_show")),
        *(("yolo", key) for key in ("track_ciou_norm", "embedding_layer")),
    }
    unused = {
        *(("region", key) for key in ("log", "sqrt", "absolute")),
        ("detection", "reorg"),
        ("contrastive", "classes"),
    }
    assert {(section, key) for section, _, key in declared("unused")} == unused
    speed = {("net", key) for key in ("optimized_memory", "workspace_size_limit_MB", "use_cuda_graph")}
    assert {(section, key) for section, _, key in declared("speed")} == speed


@pytest.mark.parametrize(("section", "options", "key"), declared("none", "unsupported"))
def test_options_that_change_no_result_are_reported(section: str, options: type[schema.Options], key: str) -> None:
    reason = REASONS[schema.keys(options)[key].metadata["effect"]]
    text = f"{key}={other_value(options, key)}"
    assert read(section, options, text) == [(f"x.cfg:2: [{section}]", key, reason)]
    with pytest.raises(ConfigError, match=rf"^x.cfg:2: \[{section}\] {key}: {reason}$"):
        read(section, options, text, strict=True)


@pytest.mark.parametrize(("section", "options", "key"), declared("none", "unsupported"))
def test_the_default_is_not_reported(section: str, options: type[schema.Options], key: str) -> None:
    default = schema.keys(options)[key].default
    if default == ():
        pytest.skip("an empty list cannot be written")
    assert read(section, options, f"{key}={int(default) if isinstance(default, bool) else default}", strict=True) == []


@pytest.mark.parametrize(("section", "options", "key"), declared("normal", "unused", "speed"))
def test_other_options_are_never_reported(section: str, options: type[schema.Options], key: str) -> None:
    config = cfg.loads(f"[{section}]\n{key}=1\n")
    values = options.__new__(options)  # a value of any type: only the declaration counts
    object.__setattr__(values, schema.keys(options)[key].name, object())
    assert list(schema.ineffective_options(config, [values])) == []


def test_no_code_reads_options_without_effect() -> None:
    normal = {schema.keys(options)[key].name for _, options, key in declared("normal")}
    others = {schema.keys(options)[key].name for _, options, key in declared("none", "unused", "unsupported", "speed")}
    assert len(others - normal) > 15
    assert not (others - normal) & names_read_from_options()


@functools.cache
def names_read_from_options() -> set[str]:
    """Every NAME of ``options.NAME``, ``self.options.NAME`` and ``net.NAME`` in the package, but those of training."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
                if owner in ("options", "net"):
                    names.add(node.attr)
    return names - {field.name for field in dataclasses.fields(TrainOptions)}


def test_every_effect_is_declared_by_some_option() -> None:
    for effect in typing.get_args(schema.Effect):
        assert list(declared(effect)), effect


def test_loading_is_silent_and_check_reports_options_without_effect(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.cfg"
    path.write_text(NETWORK.format("center=1\nuse_cuda_graph=1\n", "smooth=.1\n", "sim_thresh=.5\n"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        darknet_py.load(path)
    assert main(["check", str(path)]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note")]
    assert notes == [
        f"note   {path}:5: [net] center: not supported, ignored",
        f"note   {path}:9: [convolutional] smooth: not supported, ignored",
        f"note   {path}:13: [yolo] sim_thresh: has no effect",
    ]
    assert main(["check", str(path), "--strict"]) == 1
    with pytest.raises(ConfigError, match=r"x.cfg:5: \[net\] center: not supported, ignored"):
        darknet_py.load(path, strict=True)
