"""The cache folder of a test."""

from __future__ import annotations

import pathlib

import pytest


@pytest.fixture
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The cache folder, which does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("DARKNET_PY_HOME", str(folder))
    return folder
