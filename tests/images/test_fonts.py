"""Fonts for labels in any script."""

import pathlib

import pytest

from darknet_py.errors import DataError
from darknet_py.images import drawing, fonts


def font_with(letters: str) -> str:
    """A font file of this machine that has ``letters``."""
    path = next((p for p in fonts._installed_fonts() if all(fonts._has_glyph(p, letter) for letter in letters)), None)
    if path is None:
        pytest.skip(f"no font of this machine has {letters!r}")
    return path


@pytest.fixture
def no_installed_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without installed fonts."""
    monkeypatch.setattr(fonts, "_installed_fonts", lambda: ())
    monkeypatch.delenv(fonts.FONT_VARIABLE, raising=False)


@pytest.mark.usefixtures("no_installed_fonts")
def test_ascii_needs_no_installed_font() -> None:
    font = fonts.find_font("traffic light: 0.97", 20)
    assert font is not None
    assert font.getlength("traffic light") > 60


@pytest.mark.usefixtures("no_installed_fonts")
def test_without_a_font_for_its_name_a_class_is_labelled_by_its_number() -> None:
    assert fonts.find_font("собака", 20) is None
    marks = drawing._group_rows([[0, 0, 9, 9]], [7], [0.5], {7: "собака"}, [0], (64, 64), None, 12, True)
    assert marks[0].class_names == ("class 7",)


def test_a_font_is_found_for_another_script() -> None:
    path = font_with("Собака")
    font = fonts.find_font("Собака", 20)
    assert font is not None
    assert font.path is not None
    assert fonts._has_glyph(path, "С")
    assert not fonts._has_glyph(path, "\U0010fffe")
    assert font.getmask("С").getbbox() != font.getmask("б").getbbox()


def test_placeholder_fonts_are_never_used() -> None:
    assert not any("LastResort" in path for path in fonts._installed_fonts())


def test_the_argument_and_the_variable_choose_the_font(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    path = font_with("abc")
    chosen = fonts.find_font("abc", 20, path)
    assert chosen is not None
    assert chosen.path == path
    monkeypatch.setenv(fonts.FONT_VARIABLE, path)
    again = fonts.find_font("abc", 20)
    assert again is not None
    assert again.path == path
    monkeypatch.setenv(fonts.FONT_VARIABLE, str(tmp_path / "none.ttf"))
    with pytest.raises(DataError, match=r"none\.ttf: not a font"):
        fonts.find_font("abc", 20)


def test_without_a_common_font_only_the_best_class_is_shown() -> None:
    font_with("é")
    names = {0: "écrasée", 1: "\U00013000"}
    marks = drawing._group_rows([[0, 0, 99, 99]] * 2, [0, 1], [0.9, 0.5], names, [0, 0], (640, 480), None, 12, True)
    assert drawing._place_labels(marks, (640, 480), 2, None, 12)[0].text.startswith("écrasée: 0.90")
