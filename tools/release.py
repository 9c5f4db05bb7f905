"""A release: set the version everywhere, and check that a tag fits.

    python tools/release.py prepare 0.2.0      write the version and today's date into the files that state them
    python tools/release.py check v0.2.0       what .github/workflows/release.yml runs before it builds

docs/release.md has the whole list.
"""

from __future__ import annotations

import datetime
import pathlib
import re
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Where the version is: a pattern with one group, and the text that replaces the match.
PLACES = {
    "darknet_py/_version.py": (r'^__version__ = "(.*)"$', '__version__ = "{version}"'),
    "CITATION.cff": (r"^version: (.*)$", "version: {version}"),
    "recipe/meta.yaml": (r'^{% set version = "(.*)" %}$', '{{% set version = "{version}" %}}'),
}
_VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")  # of PEP 440, as far as this project uses it
_UNRELEASED = "## [Unreleased]\n"


def prepare(root: pathlib.Path, version: str, date: str) -> None:
    """Write a version into all places, and begin its section of CHANGELOG.md.

    Args:
        root: the checkout.
        version: such as 0.2.0.
        date: the day of the release, YYYY-MM-DD.

    Raises:
        ValueError: the version is malformed, or CHANGELOG.md has a section of it or nothing that is unreleased.
    """
    if not _VERSION.fullmatch(version):
        raise ValueError(f"expected a version such as 0.2.0 or 0.2.0rc1, got {version!r}")
    changelog = root / "CHANGELOG.md"
    text = changelog.read_text(encoding="utf-8")
    if re.search(rf"^## \[?{re.escape(version)}\b", text, re.MULTILINE):
        raise ValueError(f"CHANGELOG.md has a section of {version} already")
    _, found, below = text.partition(_UNRELEASED)
    if not found or not below.partition("\n## ")[0].strip():
        raise ValueError(f"CHANGELOG.md: expected entries below {_UNRELEASED.strip()!r}")
    changelog.write_text(text.replace(_UNRELEASED, f"{_UNRELEASED}\n## [{version}] - {date}\n", 1), encoding="utf-8")
    for name, (pattern, line) in PLACES.items():
        path = root / name
        old = path.read_text(encoding="utf-8")
        new = re.sub(pattern, line.format(version=version), old, flags=re.MULTILINE)
        path.write_text(new, encoding="utf-8")


def problems(root: pathlib.Path, tag: str) -> Iterator[str]:
    """Yield what does not fit a tag ``v0.2.0``: a place with another version, or a changelog without its date."""
    version = tag.removeprefix("v")
    if tag == version or not _VERSION.fullmatch(version):
        yield f"expected a tag such as v0.2.0, got {tag!r}"
        return
    for name, (pattern, _) in PLACES.items():
        found = re.search(pattern, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        if not found or found[1] != version:
            yield f"{name}: expected version {version}, found {found[1] if found else 'none'}"
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$"
    if not re.search(heading, (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE):
        yield f"CHANGELOG.md: expected a section '## [{version}] - YYYY-MM-DD'"


def main(arguments: list[str]) -> int:
    """Run a command line and return the exit status."""
    match arguments:
        case ["prepare", version]:
            try:
                prepare(ROOT, version, datetime.datetime.now(datetime.UTC).date().isoformat())
            except ValueError as error:
                print(f"release: {error}", file=sys.stderr)
                return 1
            print(f"{', '.join([*PLACES, 'CHANGELOG.md'])}: {version}")
            return 0
        case ["check", tag]:
            found = list(problems(ROOT, tag))
            for problem in found:
                print(f"release: {problem}", file=sys.stderr)
            return 1 if found else 0
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
