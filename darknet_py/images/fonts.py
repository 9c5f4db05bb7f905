"""Find a font that has all letters of a label: Pillow's default font if it can, else an installed one.

Pillow's default font covers ASCII. For names in other scripts the system's font folders are searched, fonts with wide
coverage first. The environment variable ``DARKNET_PY_FONT`` (a path) takes precedence.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import pathlib
import string
import unicodedata
from typing import cast

from PIL import ImageFont

from .._typing import StrPath
from ..errors import DataError

Font = ImageFont.FreeTypeFont

FONT_VARIABLE = "DARKNET_PY_FONT"
# Sans-serif fonts with wide coverage, in order of preference; any other font comes after these.
_PREFERRED = (
    "dejavusans", "notosans-regular", "notosans", "liberationsans-regular", "arial", "segoeui", "helvetica",
    "notosanscjk-regular", "notosanscjksc-regular", "sourcehansans", "wqy-microhei", "droidsansfallback",
    "msyh", "yugothm", "malgun", "pingfang", "hiragino sans gb", "applesdgothicneo", "arial unicode", "arialuni",
)  # fmt: skip
_SUFFIXES = (".ttf", ".otf", ".ttc")
_PLACEHOLDER_FONT = "LastResort"  # has a glyph for every letter, but it only shows the letter's script
_NO_CHARACTER = "\U0010ffff"  # every font draws its "missing glyph" for this


def find_font(text: str, size: int, path: StrPath | None = None) -> Font | None:
    """Find a font that has every letter of a text, and digits.

    Args:
        text: the text to draw.
        size: font size in pixels.
        path: font file to try first; by default that of ``$DARKNET_PY_FONT``.

    Returns:
        The font, or None if no installed font has all letters.

    Raises:
        DataError: the font file cannot be read.
    """
    letters = {letter for letter in text if _is_visible(letter)} | set(string.digits)
    rarest_first = sorted(letters, reverse=True)
    chosen = os.fspath(path) if path is not None else os.environ.get(FONT_VARIABLE)
    if chosen:
        font = _open(chosen, size)
        if all(_has_glyph(chosen, letter) for letter in rarest_first):
            return font
    if text.isascii():
        return default_font(size)
    installed = _installed_fonts()
    match = next((file for file in installed if all(_has_glyph(file, letter) for letter in rarest_first)), None)
    return _open(match, size) if match else None


@functools.cache
def default_font(size: int) -> Font:
    """Return Pillow's own font (Aileron)."""
    return cast(Font, ImageFont.load_default(size))  # a FreeType font if a size is given


@functools.cache
def _open(path: str, size: int) -> Font:
    try:
        return ImageFont.truetype(path, size)
    except OSError as error:
        raise DataError(f"{path}: not a font that can be read ({error})") from error


@functools.cache
def _has_glyph(path: str, letter: str) -> bool:
    """Whether a font file has a glyph for ``letter``."""
    try:
        return _glyph_bitmap(path, letter) != _glyph_bitmap(path, _NO_CHARACTER)
    except (DataError, OSError, ValueError):  # skip bitmap fonts of a fixed size and broken files
        return False


@functools.cache
def _glyph_bitmap(path: str, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = _open(path, 16).getmask(letter)
    return mask.size, bytes(mask)


def _is_visible(letter: str) -> bool:
    return unicodedata.category(letter)[0] not in "CMZ"  # control characters, combining marks, spaces


@functools.cache
def _installed_fonts() -> tuple[str, ...]:
    """All font files of this machine, the preferred ones first."""
    files = (path for folder in _font_folders() for path in folder.rglob("*"))
    usable = [p for p in files if p.suffix.lower() in _SUFFIXES and not p.stem.startswith(_PLACEHOLDER_FONT)]
    rank = {name: position for position, name in enumerate(_PREFERRED)}
    return tuple(str(path) for path in sorted(usable, key=lambda p: (rank.get(p.stem.lower(), len(rank)), p.name)))


def _font_folders() -> list[pathlib.Path]:
    home = pathlib.Path.home()
    folders = [
        home / ".fonts", home / ".local/share/fonts", home / "Library/Fonts", pathlib.Path("/usr/share/fonts"),
        pathlib.Path("/usr/local/share/fonts"), pathlib.Path("/Library/Fonts"), pathlib.Path("/System/Library/Fonts"),
        pathlib.Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts",
    ]  # fmt: skip
    matplotlib = importlib.util.find_spec("matplotlib")  # ships DejaVu, which minimal containers do not have
    if matplotlib and matplotlib.origin:
        folders.append(pathlib.Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf")
    return [folder for folder in folders if folder.is_dir()]
