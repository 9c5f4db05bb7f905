"""Pages in Chinese say what the English ones do: the same headings, code, figures and links."""

from __future__ import annotations

import pathlib
import posixpath
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
TRANSLATIONS = {"README.zh-CN.md": "README.md", "docs/zh-CN/tour.md": "docs/tour.md"}

each_translation = pytest.mark.parametrize(("page", "original"), TRANSLATIONS.items())


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def heading_levels(page: str) -> list[int]:
    prose = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
    return [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)]


def code(page: str) -> list[str]:
    """Fenced blocks, and runs of indented lines."""
    return re.findall(r"^```.*?^```$|(?:^    [^\n]*\n)+", text(page), re.MULTILINE | re.DOTALL)


def targets(page: str) -> list[str]:
    """Files and addresses of links and figures, from the root; anchors follow from the language."""
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text(page))]
    folder = posixpath.dirname(page)
    return [link if "://" in link else posixpath.normpath(posixpath.join(folder, link)) for link in links if link]


def table_rows(page: str) -> int:
    return sum(line.startswith("|") for line in text(page).splitlines())


@each_translation
def test_a_translation_has_the_headings_of_its_original(page: str, original: str) -> None:
    assert heading_levels(page) == heading_levels(original)


@each_translation
def test_a_translation_has_the_code_of_its_original(page: str, original: str) -> None:
    assert code(page) == code(original)
    assert code(page)


@each_translation
def test_a_translation_has_the_links_and_tables_of_its_original(page: str, original: str) -> None:
    translations = {*TRANSLATIONS, page, original}  # which link to each other
    ours, theirs = (sorted(set(targets(name)) - translations) for name in (page, original))
    assert ours == theirs
    assert table_rows(page) == table_rows(original)
