"""Files are written atomically."""

from __future__ import annotations

import os
import pathlib

import pytest

from darknet_py.files import atomic_write


def test_the_file_is_replaced_at_the_end_of_the_block(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with atomic_write(target, "w") as file:
        file.write("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_error_keeps_the_old_file_and_removes_the_temporary_one(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def write() -> None:
        with atomic_write(target) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_the_error_names_the_file_in_a_missing_folder(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "no" / "a.txt"):
        pass
    assert caught.value.filename == str(tmp_path / "no" / "a.txt")


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_follow_the_umask(umask: int, expected: int, tmp_path: pathlib.Path) -> None:
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "a"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == expected


def test_the_umask_of_the_process_is_not_changed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("other threads would create files with this umask"))
    with atomic_write(tmp_path / "a", "w", encoding="utf-8") as file:
        file.write("é")
    assert (tmp_path / "a").read_bytes() == "é".encode()
