"""Read and write XML files of annotations."""

from __future__ import annotations

import pathlib
import re
import stat
import xml.etree.ElementTree as ElementTree

from ..errors import DataError
from ..files import atomic_write
from ..text_files import decode_text, to_unicode

_DECLARATION = re.compile(rb"""\s*<\?xml[^>]*encoding=["']([\w.:-]+)["']""")  # of an encoding that contains ASCII
_TEXT_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # characters that XML 1.0 excludes


def read_xml(path: pathlib.Path) -> ElementTree.Element:
    """Return the root element of an XML file, in the encoding that it declares.

    A file with a DTD is refused: its entities can make a short text fill the memory.

    Raises:
        DataError: the file cannot be read, or is not XML; the message does not begin with the path.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError("expected a regular file, found a folder, device or pipe")
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError("no annotation") from None
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(getattr(error, "strerror", None) or str(error)) from error
    declaration = _DECLARATION.match(content)
    encoding = declaration and declaration[1]
    try:
        text = content.decode(encoding.decode("ascii")) if encoding else to_unicode(decode_text(content))
    except (UnicodeError, LookupError):
        text = to_unicode(decode_text(content))
    text = _TEXT_DECLARATION.sub("", text)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError("expected an annotation without a DTD, found one with a DTD")
    if not text.strip():
        raise DataError("no annotation")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(str(error)) from error


def write_xml(path: pathlib.Path, root: ElementTree.Element) -> None:
    """Write an XML file in UTF-8; characters that XML does not have become ``?``. Raises DataError."""
    for element in root.iter():
        element.text = element.text and _FORBIDDEN.sub("?", element.text)
        element.attrib.update({key: _FORBIDDEN.sub("?", value) for key, value in element.attrib.items()})
    ElementTree.indent(root)
    with atomic_write(path) as file:
        ElementTree.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
        file.write(b"\n")


def add_text(parent: ElementTree.Element, tag: str, text: object = "") -> ElementTree.Element:
    """Add an element with a text to another, and return it."""
    element = ElementTree.SubElement(parent, tag)
    element.text = str(text)
    return element
