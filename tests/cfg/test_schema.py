"""Conversion of text to typed options: values, warnings and errors."""

from __future__ import annotations

import dataclasses
import enum
import pathlib
import re
import warnings
from typing import Any

import pytest

from darknet_py import cfg
from darknet_py.cfg import Dialect, schema
from darknet_py.cfg.schema import option
from darknet_py.errors import ConfigError, UnusedOptionWarning


class Colour(enum.StrEnum):
    RED = "red"
    GREEN = "green"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(schema.Options):
    count: int = option(1, "a count")
    maybe: int | None = option(None, "a number or none")
    rate: float = option(0.5, "how fast", max=float("inf"))
    on: bool = option(False, "whether")
    colour: Colour = option(Colour.RED, "which")
    part: float = option(0.0, "which part", min=0, max=1)
    steps: tuple[int, ...] = option((), "when", min=-9)
    scales: tuple[float, ...] = option((), "how much")
    from_: int = option(0, "a key that Python reserves", key="from")
    word: str = option("", "a word")
    file: pathlib.Path | None = option(None, "a file")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RequiredOptions(schema.Options):
    layers: tuple[int, ...] = option(dataclasses.MISSING, "the layers")


def read(text: str, kind: type[schema.Options] = Options, *, strict: bool = False, path: str = "x.cfg") -> Any:
    config = cfg.loads(f"[conv]\n{text}", path)
    return schema.read(kind, config.sections[0], config, dialect=Dialect.ALEXEYAB, strict=strict)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("count=3", "count", 3),
        ("count=-3", "count", -3),
        ("count=+3", "count", 3),
        ("count=007", "count", 7),
        ("maybe=0", "maybe", 0),
        ("rate=1", "rate", 1.0),
        ("rate=.25", "rate", 0.25),
        ("rate=5.", "rate", 5.0),
        ("rate=-5e-4", "rate", -0.0005),
        ("rate=1E+2", "rate", 100.0),
        ("rate=inf", "rate", float("inf")),
        ("on=1", "on", True),
        ("on=0", "on", False),
        ("on=2", "on", True),
        ("on=-1", "on", True),
        ("on=0.5", "on", True),
        ("colour=green", "colour", Colour.GREEN),
        ("colour=green # grass", "colour", Colour.GREEN),
        ("steps=1", "steps", (1,)),
        ("steps=-1, -3,5", "steps", (-1, -3, 5)),
        ("steps=1,2 ### 3,4", "steps", (1, 2)),
        ("scales=.1,1e1,2", "scales", (0.1, 10.0, 2.0)),
        ("from=-3", "from_", -3),
        ("word=a=b#c", "word", "a=b#c"),
    ],
)
def test_values_are_converted_to_the_type_of_the_field(text: str, name: str, value: object) -> None:
    options = read(text, strict=True)
    assert getattr(options, name) == value
    assert type(getattr(options, name)) is type(value)
    assert dataclasses.replace(options, **{name: getattr(Options(), name)}) == Options()


@pytest.mark.parametrize(
    ("text", "name", "value", "warning"),
    [
        ("count=3 x", "count", 3, "x.cfg:2: [conv] count: text 'x' after the value, ignored"),
        ("count=3 ,000", "count", 3, "x.cfg:2: [conv] count: text ',000' after the value, ignored"),
        (
            "steps=4800 5400",
            "steps",
            (48005400,),
            "x.cfg:2: [conv] steps: blanks are removed, as in Darknet: '4800 5400' is read as one number",
        ),
        ("count=3.9", "count", 3, "x.cfg:2: [conv] count: text '.9' after the value, ignored"),
        ("rate=0.1;fast", "rate", 0.1, "x.cfg:2: [conv] rate: text ';fast' after the value, ignored"),
        ("count=2\n\ncount=3", "count", 2, "x.cfg:4: [conv] count: repeated key, ignored: the first one counts"),
        ("cuont=2", "count", 1, "x.cfg:2: [conv] cuont: unknown option, ignored (did you mean 'count'?)"),
        ("zzzzzz=2", "count", 1, "x.cfg:2: [conv] zzzzzz: unknown option, ignored"),
        ("from_=2", "from_", 0, "x.cfg:2: [conv] from_: unknown option, ignored (did you mean 'from'?)"),
        ("count=", "count", 1, "x.cfg:2: [conv] count: expected a value; the line is ignored"),
        ("count", "count", 1, "x.cfg:2: [conv] count: expected a value; the line is ignored"),
        ("dialect=pjreddie", "dialect", Dialect.ALEXEYAB, "x.cfg:2: [conv] dialect: unknown option, ignored"),
    ],
)
def test_what_darknet_ignores_is_reported(text: str, name: str, value: object, warning: str) -> None:
    with pytest.warns(UnusedOptionWarning, match=f"^{re.escape(warning)}$"):
        assert getattr(read(text), name) == value
    with pytest.raises(ConfigError, match=f"^{re.escape(warning)}$"):
        read(text, strict=True)


def test_a_comment_after_a_number_is_not_reported() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read("count=255 # x\nsteps=1,2 # y", strict=True).count == 255


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count=three", "x.cfg:2: [conv] count: expected an integer, got 'three'"),
        ("count=#3", "x.cfg:2: [conv] count: expected an integer, got '#3'"),
        ("rate=fast", "x.cfg:2: [conv] rate: expected a number, got 'fast'"),
        ("rate=.", "x.cfg:2: [conv] rate: expected a number, got '.'"),
        ("on=yes", "x.cfg:2: [conv] on: expected 0 or 1, got 'yes'"),
        ("count=3x", "x.cfg:2: [conv] count: expected an integer, got '3x', which Darknet reads as 3"),
        ("count=1e3", "x.cfg:2: [conv] count: expected an integer, got '1e3', which Darknet reads as 1"),
        ("count=6,000", "x.cfg:2: [conv] count: expected an integer, got '6,000', which Darknet reads as 6"),
        ("part=0,001", "x.cfg:2: [conv] part: expected a number, got '0,001', which Darknet reads as 0"),
        ("part=0.1.2", "x.cfg:2: [conv] part: expected a number, got '0.1.2', which Darknet reads as 0.1"),
        ("steps=1,2e3", "x.cfg:2: [conv] steps: expected an integer, got '2e3', which Darknet reads as 2"),
        ("part=1.5", "x.cfg:2: [conv] part: expected 0..1, got '1.5'"),
        ("part=nan", "x.cfg:2: [conv] part: expected 0..1, got 'nan'"),
        ("rate=-inf", "x.cfg:2: [conv] rate: expected -3.4e+38..inf, got '-inf'"),
        ("steps=1,-10", "x.cfg:2: [conv] steps: expected -9 or more, got '-10'"),
        ("count=2147483648", "x.cfg:2: [conv] count: expected -2147483648..2147483647, got '2147483648'"),
        (f"count={'9' * 10000}", f"x.cfg:2: [conv] count: expected -2147483648..2147483647, got '{'9' * 60}...'"),
        ("steps=1,,2", "x.cfg:2: [conv] steps: expected an integer, got ''"),
        ("steps=1,2,", "x.cfg:2: [conv] steps: expected an integer, got ''"),
        ("colour=gren", "x.cfg:2: [conv] colour: expected one of red, green, got 'gren' (did you mean 'green'?)"),
        ("colour=Red", "x.cfg:2: [conv] colour: expected one of red, green, got 'Red' (did you mean 'red'?)"),
    ],
)
def test_invalid_values_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        read(text)


def test_a_missing_required_key_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^x.cfg:1: \[conv\] missing key layers= \(the layers\)$"):
        read("", RequiredOptions)
    assert read("layers=-1,4", RequiredOptions).layers == (-1, 4)


def test_files_are_searched_in_the_folder_of_the_cfg_its_parent_and_the_working_directory(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work" / "cfg").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "share"))
    path = str(tmp_path / "work" / "cfg" / "x.cfg")
    with pytest.raises(
        ConfigError, match=re.escape(f"{path}:2: [conv] file: file 'a.tree' not found (searched {tmp_path}")
    ):
        read("file=a.tree", path=path)
    folders = (tmp_path / "share" / "darknet", tmp_path, tmp_path / "work", tmp_path / "work" / "cfg")
    for folder in folders:  # in increasing priority
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "a.tree").touch()
        assert read("file=a.tree # names", path=path).file.resolve() == folder / "a.tree"


def test_keys_are_the_names_in_the_file() -> None:
    assert list(schema.keys(Options))[-3:] == ["from", "word", "file"]
    assert schema.keys(Options)["from"].name == "from_"
