"""Fixtures of the tests of conversion: an empty working directory, and a network with weights in it."""

from __future__ import annotations

import pathlib

import pytest

from darknet_py.network import Network
from tests.helpers.weights_files import HEAD, save_random_weights


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def head() -> Network:
    pathlib.Path("head.cfg").write_text(HEAD)
    return save_random_weights(pathlib.Path("head.cfg"))
