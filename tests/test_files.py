"""Files are written whole or not at all."""

from __future__ import annotations

import os
import pathlib

import pytest

from darknet_py.files import replacing


def test_the_file_is_there_when_the_block_ends(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with replacing(target, "w") as file:
        file.write("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def write() -> None:
        with replacing(target) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_missing_folder_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "no" / "a.txt"):
        pass
    assert caught.value.filename == str(tmp_path / "no" / "a.txt")


def test_others_may_read_it_as_any_file(tmp_path: pathlib.Path) -> None:
    before = os.umask(0o022)
    try:
        with replacing(tmp_path / "a"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
