"""A font for every name, or none and a number."""

import pathlib

import pytest

from darknet_py.errors import DataError
from darknet_py.images import drawing, fonts


def elsewhere(letters: str) -> str:
    """A font file of this machine that has ``letters``."""
    path = next((p for p in fonts._installed() if all(fonts._has(p, letter) for letter in letters)), None)
    if path is None:
        pytest.skip(f"no font of this machine has {letters!r}")
    return path


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a single font."""
    monkeypatch.setattr(fonts, "_installed", lambda: ())
    monkeypatch.delenv(fonts.VARIABLE, raising=False)


@pytest.mark.usefixtures("bare")
def test_ascii_needs_no_font_of_the_machine() -> None:
    font = fonts.find("traffic light: 0.97", 20)
    assert font is not None
    assert font.getlength("traffic light") > 60


@pytest.mark.usefixtures("bare")
def test_without_a_font_a_class_is_called_by_its_number() -> None:
    assert fonts.find("собака", 20) is None
    marks = drawing._marks([[0, 0, 9, 9]], [7], [0.5], {7: "собака"}, [0], (64, 64), None, 12, True)
    assert marks[0].words == ("class 7",)


def test_names_in_other_scripts_find_a_font() -> None:
    path = elsewhere("Собака")
    font = fonts.find("Собака", 20)
    assert font is not None
    assert font.path is not None
    assert fonts._has(path, "С")
    assert not fonts._has(path, "\U0010fffe")
    assert font.getmask("С").getbbox() != font.getmask("б").getbbox()


def test_a_font_of_stand_ins_is_never_taken() -> None:
    assert not any("LastResort" in path for path in fonts._installed())


def test_argument_and_variable_name_a_font(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    path = elsewhere("abc")
    chosen = fonts.find("abc", 20, path)
    assert chosen is not None
    assert chosen.path == path
    monkeypatch.setenv(fonts.VARIABLE, path)
    again = fonts.find("abc", 20)
    assert again is not None
    assert again.path == path
    monkeypatch.setenv(fonts.VARIABLE, str(tmp_path / "none.ttf"))
    with pytest.raises(DataError, match=r"none\.ttf: not a font"):
        fonts.find("abc", 20)


def test_scripts_that_no_font_has_together_show_the_best_class() -> None:
    elsewhere("é")
    names = {0: "écrasée", 1: "\U00013000"}
    marks = drawing._marks([[0, 0, 99, 99]] * 2, [0, 1], [0.9, 0.5], names, [0, 0], (640, 480), None, 12, True)
    assert drawing._labels(marks, (640, 480), 2, None, 12)[0].text.startswith("écrasée: 0.90")
