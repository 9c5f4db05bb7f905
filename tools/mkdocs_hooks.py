"""MkDocs hooks: Markdown files outside docs/ become pages of the site, and links between them are rewritten."""

from __future__ import annotations

import pathlib
import posixpath
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Page of the site: file of the repository.
PAGES = {
    "index.md": "README.md",
    "zh-CN/index.md": "README.zh-CN.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "networks.md": "cfgs/README.md",
    "catalogue.md": "weights/README.md",
    "golden.md": "tests/golden/README.md",
}
_SOURCES = {source: page for page, source in PAGES.items()}
_LINK = re.compile(r"\[((?:`[^`]*`|[^\[\]`])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are written outside docs/."""
    for page, source in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at pages of the site; a link to another file of the repository becomes plain text."""
    uri = page.file.src_uri
    folder = posixpath.dirname(PAGES.get(uri, f"docs/{uri}"))

    def rewrite(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        if "://" in target:
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if path not in _SOURCES and not path.startswith("docs/"):
            return text
        destination = _SOURCES.get(path, path.removeprefix("docs/"))
        return f"[{text}]({posixpath.relpath(destination, posixpath.dirname(uri) or '.')}{anchor})"

    return _LINK.sub(rewrite, markdown)
