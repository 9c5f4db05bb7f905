"""A font that can write a label: Pillow's own where it has the letters, else one of the system.

The font that comes with Pillow knows ASCII alone. Names in other scripts need a font of the machine:
the folders where systems keep them are searched, well-known wide fonts first, for one that has every
letter of the text. ``$DARKNET_PY_FONT`` (a path) goes before all of that.
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

VARIABLE = "DARKNET_PY_FONT"
# Plain faces that cover much, most to be liked first; any other font comes after these.
_LIKED = (
    "dejavusans", "notosans-regular", "notosans", "liberationsans-regular", "arial", "segoeui", "helvetica",
    "notosanscjk-regular", "notosanscjksc-regular", "sourcehansans", "wqy-microhei", "droidsansfallback",
    "msyh", "yugothm", "malgun", "pingfang", "hiragino sans gb", "applesdgothicneo", "arial unicode", "arialuni",
)  # fmt: skip
_SUFFIXES = (".ttf", ".otf", ".ttc")
_STAND_IN = "LastResort"  # a font that "has" every letter, as a sign for its script
_NO_CHARACTER = "\U0010ffff"  # every font shows its "no such letter" sign for this


def find(text: str, size: int, path: StrPath | None = None) -> Font | None:
    """A font of ``size`` pixels that has every letter of ``text``, and digits; None where the machine has none.

    ``path``: the font file to try first. Raises DataError where it cannot be read.
    """
    letters = {letter for letter in text if _visible(letter)} | set(string.digits)
    rarest_first = sorted(letters, reverse=True)
    chosen = os.fspath(path) if path is not None else os.environ.get(VARIABLE)
    if chosen:
        font = _open(chosen, size)
        if all(_has(chosen, letter) for letter in rarest_first):
            return font
    if text.isascii():
        return bundled(size)
    found = next((file for file in _installed() if all(_has(file, letter) for letter in rarest_first)), None)
    return _open(found, size) if found else None


@functools.cache
def bundled(size: int) -> Font:
    """Pillow's own font (Aileron)."""
    return cast(Font, ImageFont.load_default(size))  # with a size it is that or an error


@functools.cache
def _open(path: str, size: int) -> Font:
    try:
        return ImageFont.truetype(path, size)
    except OSError as error:
        raise DataError(f"{path}: not a font that can be read ({error})") from error


@functools.cache
def _has(path: str, letter: str) -> bool:
    """Whether a font file has a sign of its own for ``letter``."""
    try:
        return _drawn(path, letter) != _drawn(path, _NO_CHARACTER)
    except (DataError, OSError, ValueError):  # bitmap fonts of one size and broken files are passed over
        return False


@functools.cache
def _drawn(path: str, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = _open(path, 16).getmask(letter)
    return mask.size, bytes(mask)


def _visible(letter: str) -> bool:
    return unicodedata.category(letter)[0] not in "CMZ"  # controls, combining marks, blanks


@functools.cache
def _installed() -> tuple[str, ...]:
    """Every font file of the machine, the liked ones first."""
    files = (path for folder in _folders() for path in folder.rglob("*"))
    found = [path for path in files if path.suffix.lower() in _SUFFIXES and not path.stem.startswith(_STAND_IN)]
    rank = {name: position for position, name in enumerate(_LIKED)}
    return tuple(str(path) for path in sorted(found, key=lambda p: (rank.get(p.stem.lower(), len(rank)), p.name)))


def _folders() -> list[pathlib.Path]:
    home = pathlib.Path.home()
    folders = [
        home / ".fonts", home / ".local/share/fonts", home / "Library/Fonts", pathlib.Path("/usr/share/fonts"),
        pathlib.Path("/usr/local/share/fonts"), pathlib.Path("/Library/Fonts"), pathlib.Path("/System/Library/Fonts"),
        pathlib.Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts",
    ]  # fmt: skip
    plots = importlib.util.find_spec("matplotlib")  # brings DejaVu along, which bare containers lack
    if plots and plots.origin:
        folders.append(pathlib.Path(plots.origin).parent / "mpl-data" / "fonts" / "ttf")
    return [folder for folder in folders if folder.is_dir()]
