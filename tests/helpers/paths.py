"""Paths that tests use: in this checkout, in the optional folder ../shared, and in Debian's package ``darknet``."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

CFGS = ROOT / "cfgs"
GOLDEN = ROOT / "tests" / "golden"
RARE = GOLDEN / "conformance" / "rare"
"""Small networks with rare options, and C's values of them."""

SHARED = ROOT.parent / "shared"
"""An optional folder next to the checkout with references, images and official cfgs; see ``require_shared``."""

CONFORMANCE = SHARED / "conformance"
OFFICIAL = CONFORMANCE / "alexeyab"
"""AlexeyAB's cfgs, and C's values of them."""

_DATA_FOLDERS = [
    Path(folder, "darknet") for folder in os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":")
]
DEBIAN = next((folder for folder in _DATA_FOLDERS if (folder / "cfg").is_dir()), Path("/usr/share/darknet"))
"""Data of Debian's package ``darknet`` (pjreddie's): ``cfg/`` and ``data/``."""

NO_SHARED = "needs the folder ../shared"
"""The reason of all skips due to a missing ../shared; the summary of a test run counts them by it."""

needs_shared = pytest.mark.skipif(not CONFORMANCE.is_dir(), reason=NO_SHARED)


def official_cfgs() -> list[Path]:
    """The cfgs of AlexeyAB in ../shared, whether the folder exists or not."""
    names: dict[str, object] = json.loads((GOLDEN / "totals.json").read_text(encoding="utf-8"))
    return [CONFORMANCE / f"{name}.cfg" for name in names if name.startswith("alexeyab/")]


def require_shared() -> Path:
    """Return ../shared, or skip the test if it does not exist."""
    if not CONFORMANCE.is_dir():
        pytest.skip(NO_SHARED)
    return SHARED


def require_files_of(cfg: Path) -> None:
    """Skip the test if a file that ``cfg`` refers to does not exist (``data/9k.tree`` of yolo9000.cfg)."""
    for name in re.findall(r"(?m)^\s*(?:tree|map)\s*=\s*(\S+)", cfg.read_text(errors="surrogateescape")):
        if not any((folder / name).is_file() for folder in (cfg.parent, cfg.parents[1], Path(), *_DATA_FOLDERS)):
            pytest.skip(f"{cfg.name} needs {name} of Debian's package darknet")
