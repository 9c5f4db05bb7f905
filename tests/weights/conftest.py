"""Tests of weights run in a folder of their own, where they write files."""

from __future__ import annotations

import pathlib

import pytest


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
