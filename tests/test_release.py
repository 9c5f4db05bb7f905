"""tools/release.py: one version everywhere, and a tag that fits it."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest

import darknet_py
from tools import release

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    """The files that state the version."""
    for name in (*release.PLACES, "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_a_prepared_release_fits_its_tag(checkout: pathlib.Path) -> None:
    release.prepare(checkout, "7.8.9", "2027-01-02")
    assert list(release.problems(checkout, "v7.8.9")) == []
    for name in release.PLACES:
        before, after = ((folder / name).read_text("utf-8").splitlines() for folder in (ROOT, checkout))
        changed = [line for line, old in zip(after, before, strict=True) if line != old]
        assert len(changed) == 1
        assert "7.8.9" in changed[0]
    changelog = (checkout / "CHANGELOG.md").read_text("utf-8")
    assert "## [Unreleased]\n\n## [7.8.9] - 2027-01-02\n\n* " in changelog
    with pytest.raises(ValueError, match=r"has a section of 7\.8\.9 already"):
        release.prepare(checkout, "7.8.9", "2027-01-02")
    with pytest.raises(ValueError, match="expected entries below"):
        release.prepare(checkout, "7.8.10", "2027-01-02")


def test_every_place_states_the_version_of_the_package() -> None:
    wrong = list(release.problems(ROOT, f"v{darknet_py.__version__}"))
    assert not [problem for problem in wrong if not problem.startswith("CHANGELOG.md")]


def test_a_tag_of_another_version_is_refused_with_each_place(checkout: pathlib.Path) -> None:
    release.prepare(checkout, "7.8.9", "2027-01-02")
    found = list(release.problems(checkout, "v7.8.8"))
    assert found == [
        *(f"{name}: expected version 7.8.8, found 7.8.9" for name in release.PLACES),
        "CHANGELOG.md: expected a section '## [7.8.8] - YYYY-MM-DD'",
    ]
    assert list(release.problems(checkout, "7.8.9")) == ["expected a tag such as v0.2.0, got '7.8.9'"]


def test_the_command_ends_with_status_1_and_the_place() -> None:
    line = [sys.executable, str(ROOT / "tools" / "release.py"), "check", "v99.0.0"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "release: darknet_py/_version.py: expected version 99.0.0, found" in done.stderr


@pytest.mark.parametrize("version", ["v1.2.3", "1.2", "1.2.3-beta"])
def test_a_malformed_version_is_refused(version: str, checkout: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="expected a version such as"):
        release.prepare(checkout, version, "2027-01-02")
