"""Text files that users and other programs write: their encoding, their lines, and the paths in them.

UTF-8 and UTF-16 are recognised, with and without a byte order mark. Bytes of another encoding are kept as surrogates,
as Python keeps those of file names, so that a path still names its file; ``to_unicode`` decodes them for display.
"""

from __future__ import annotations

import codecs
import json
import locale
import os
import pathlib
import re
from collections.abc import Iterator

from ._typing import StrPath
from .errors import DataError, list_first
from .messages import get_logger

IMAGE_SUFFIXES = (
    *(".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".npy", ".pbm"),
    *(".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp"),
)

_log = get_logger(__name__)
_BYTE_ORDER_MARKS = (  # UTF-32's begin with those of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LINE_END = re.compile(r"\r\n|\r|\n")
_URL = re.compile("https?://", re.IGNORECASE)
_KEPT_BYTE = re.compile("[\udc80-\udcff]")
_MAX_NAMED = 6  # places that an error lists


def system_folders() -> list[pathlib.Path]:
    """Return the folders where a package of the system may have Darknet's ``cfg`` and ``data``, as Debian's has."""
    data_folders = os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":")
    return [pathlib.Path(folder, "darknet") for folder in data_folders]


def decode_text(content: bytes) -> str:
    """Decode the content of a text file; bytes that are not UTF-8 become surrogates (``surrogateescape``)."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            errors = "surrogateescape" if encoding == "utf-8" else "replace"
            return content.removeprefix(mark).decode(encoding, errors)
    # ASCII letters in UTF-16: every second byte is 0.
    even, odd = content[::2], content[1::2]
    for zeros, letters, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if 2 * zeros.count(0) > len(zeros) and 0 not in letters:
            return content.decode(encoding, "replace")
    return content.decode("utf-8", "surrogateescape")


def to_unicode(text: str) -> str:
    """Decode the bytes that ``decode_text`` has kept, by the locale's encoding, else as Windows-1252 or Latin-1."""
    if _KEPT_BYTE.search(text) is None:
        return text
    content = text.encode("utf-8", "surrogateescape")
    for encoding in (locale.getencoding(), "cp1252"):
        try:
            return content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return content.decode("latin-1")


def read_text(path: StrPath) -> str:
    """Return the text of a file. Raises DataError if it cannot be read or has binary data."""
    try:
        text = decode_text(pathlib.Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{os.fspath(path)}: {getattr(error, 'strerror', None) or error}") from error
    if "\0" in text:
        raise DataError(f"{os.fspath(path)}: expected text, found binary data")
    return text


def describe_json_error(error: Exception) -> str:
    """Return what is wrong with the content of a JSON file that a reader did not expect, as the end of a sentence."""
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error}"
    if isinstance(error, KeyError):
        return f"no {error}"
    if isinstance(error, (TypeError, AttributeError)):
        return f"a value of another type ({error})"
    return str(error)


def read_lines(path: StrPath) -> list[str]:
    """Return the lines of a text file, without line ends of any system. Raises DataError as ``read_text`` does."""
    return _LINE_END.split(read_text(path))


def read_list(path: StrPath) -> list[str]:
    """Read a list: a path per line, see ``PathFinder``; empty lines are left out.

    Paths that are not found are returned as they are if they have the suffix of an image or are a URL. Others may be
    any text, if an untrusted ``.data`` file names a file that is not a list; ``FILE:LINE`` is returned for them, so
    that no message shows the text.

    Raises:
        DataError: as ``read_text`` does.
    """
    finder = PathFinder(path)
    listed = []
    for number, line in enumerate(read_lines(path), start=1):
        if text := line.strip():
            if finder.exists(text) or _URL.match(text):
                listed.append(text)
                continue
            is_image = text.strip("\"'").lower().endswith(IMAGE_SUFFIXES)
            unknown = text if is_image else f"{os.fspath(path)}:{number}"
            listed.append(finder.find(text, shorten=is_image) or unknown)
    finder.log_replaced()
    return listed


class PathFinder:
    """Finds the files that a text file names.

    A path is relative to the working directory, as in Darknet; or else to the folder of the file, or to the folder
    above. Data sets are often moved or unpacked elsewhere, so leading folders of a path are then left out one by one.
    Where nothing is found, the path is tried with ``/`` for ``\\``, without quotes and ``file://``, decoded by
    ``to_unicode``, and with its suffix in the other case.

    Args:
        file: The file with the paths.
    """

    def __init__(self, file: StrPath) -> None:
        self.file = os.fspath(file)
        folder = os.path.dirname(self.file)
        self._folders = (folder, os.path.normpath(os.path.join(folder, os.pardir)))
        self._is_folder: dict[str, bool] = {}
        self._replaced: list[tuple[str, str]] = []

    def find(self, text: str, *, shorten: bool = True) -> str | None:
        """Return the path of an existing file or folder, or None; ``shorten`` tries it without leading folders, too."""
        for spelling in _spellings(text):
            for candidate, is_shortened in self._candidates(spelling):
                if (shorten or not is_shortened) and self.exists(candidate):
                    if is_shortened or spelling != text:
                        self._replaced.append((text, candidate))
                    return candidate
        return None

    def require(self, text: str, key: str) -> str:
        """Return the path of an existing file or folder, or of the system's file of this name in ``system_folders``.

        Raises DataError, which says where it was searched.
        """
        if (path := self.find(text) or self._find_in_system(text)) is not None:
            self.log_replaced()
            return path
        tried = list(dict.fromkeys(path for path, _ in self._candidates(text.replace("\\", "/"))))
        raise DataError(f"{self.file}: {key}: no such file or folder: {text!r}; tried {list_first(tried, _MAX_NAMED)}")

    def _find_in_system(self, text: str) -> str | None:
        """Return the path of a file of Darknet's that the system has, such as data/9k.names."""
        name = text.replace("\\", "/").rpartition("/")[2]
        for folder in system_folders():
            if name and (path := folder / "data" / name).is_file():
                self._replaced.append((text, str(path)))
                return str(path)
        return None

    def log_replaced(self) -> None:
        """Log that files were found under other paths than the written ones: the first one, and how many there are."""
        if self._replaced:
            text, path = self._replaced[0]
            count = len(self._replaced)
            more = f", and {count - 1} more likewise" if count > 1 else ""
            _log.warning("%s: %s is not there; using %s%s", self.file, text, path, more)
            self._replaced.clear()

    def _candidates(self, path: str) -> Iterator[tuple[str, bool]]:
        """Yield the places of a path, and whether they lack some of its folders."""
        yield path, False
        if not os.path.isabs(path):
            for folder in self._folders:
                yield os.path.join(folder, path), False
        parts = [part for part in path.split("/") if part not in ("", os.curdir, os.pardir)]
        for start in range(len(parts)):
            shorter = "/".join(parts[start:])
            if shorter != path:
                for folder in self._folders:
                    yield os.path.join(folder, shorter), start > 0

    def exists(self, path: str) -> bool:
        """Whether a path exists; folders that do not exist are remembered, as lists have many paths in one."""
        folder = path.rpartition("/")[0]
        if folder not in self._is_folder:
            self._is_folder[folder] = not folder or os.path.isdir(folder)
        try:
            return self._is_folder[folder] and os.access(path, os.F_OK)  # half the time of os.path.exists
        except ValueError:  # a NUL character
            return False


def _spellings(text: str) -> Iterator[str]:
    """A path as it is written, and what it may stand for."""
    yield text
    plain = text.strip("\"'").removeprefix("file://")
    forms = [to_unicode(text), os.path.expanduser(plain), to_unicode(plain).replace("\\", "/")]
    stems = [os.path.splitext(form) for form in (text, forms[-1])]
    cases = [stem + changed for stem, suffix in stems for changed in (suffix.lower(), suffix.upper())]
    yield from (form for form in dict.fromkeys((*forms, *cases)) if form not in ("", text))
