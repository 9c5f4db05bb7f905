"""The cache of the labels of long lists."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import pytest

from darknet_py import text_files
from darknet_py.data import label_cache, labels
from darknet_py.data.dataset import Dataset
from darknet_py.data.formats import load_dataset
from tests.helpers.data_files import write_text
from tests.helpers.full_disk import full_disk


@pytest.fixture
def listed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A list of five images: with labels, without a label file, with an invalid line; long enough for the cache."""
    monkeypatch.setenv("DARKNET_PY_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(label_cache, "MIN_IMAGES", 5)
    for number in range(5):
        write_text(tmp_path / "set" / f"{number}.png", "")
    for number, text in (
        (0, "0 .5 .5 .2 .2\n1 .5 .5 .3 .3\n"),
        (2, "7 .5 .5 .2 .2\n1 x\n"),
        (3, ""),
        (4, "1 .1 .1 .1 .1"),
    ):
        write_text(tmp_path / "set" / f"{number}.txt", text)
    return write_text(tmp_path / "set" / "list.txt", "".join(f"{n}.png\n" for n in range(5)))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the label files that are read."""
    names: list[str] = []
    read = text_files.read_lines

    def read_lines(path: str) -> list[str]:
        names.append(pathlib.Path(path).name)
        return read(path)

    monkeypatch.setattr(labels, "read_lines", read_lines)
    return names


def same(one: Dataset, other: Dataset) -> bool:
    pairs = zip(one, other, strict=True)
    return one.problems == other.problems and all(
        a.image == b.image and np.array_equal(a.targets, b.targets) and a.targets.dtype == b.targets.dtype
        for a, b in pairs
    )


def test_label_files_are_read_once(listed: pathlib.Path, opened: list[str]) -> None:
    first = load_dataset(listed, classes=5)
    assert opened == ["0.txt", "2.txt", "3.txt", "4.txt"]
    assert len(first.problems) == 3
    second = load_dataset(listed, classes=5)
    assert len(opened) == 4
    assert same(first, second)
    load_dataset(listed, classes=8)  # other problems
    assert len(opened) == 8


def test_changed_and_new_label_files_are_read(listed: pathlib.Path, opened: list[str]) -> None:
    load_dataset(listed)
    opened.clear()
    state = (listed.parent / "0.txt").stat()
    (listed.parent / "0.txt").write_text("3 .5 .5 .2 .2\n1 .5 .5 .3 .3\n")  # of the same size
    os.utime(listed.parent / "0.txt", ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    (listed.parent / "1.txt").write_text("2 .5 .5 .2 .2\n")
    (listed.parent / "4.txt").unlink()
    dataset = load_dataset(listed)
    assert opened == ["0.txt", "1.txt"]
    assert [sample.targets[:, 4].tolist() for sample in dataset] == [[3, 1], [2], [7], [], []]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", None])
def test_a_damaged_cache_is_replaced(listed: pathlib.Path, opened: list[str], content: bytes | None) -> None:
    first = load_dataset(listed)
    (file,) = (listed.parents[1] / "cache" / "labels").glob("*.npz")
    if content is None:
        with np.load(file) as arrays:
            np.savez(file, **{**arrays, "targets": arrays["targets"][:-1]})
    else:
        file.write_bytes(content)
    assert same(load_dataset(listed), first)
    opened.clear()
    assert same(load_dataset(listed), first)
    assert not opened


def test_an_unwritable_cache_is_no_error(listed: pathlib.Path, opened: list[str]) -> None:
    (listed.parents[1] / "cache").write_text("a file where the folder would be")
    assert same(load_dataset(listed), load_dataset(listed))
    assert len(opened) == 8


def test_short_lists_are_not_cached(listed: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_cache, "MIN_IMAGES", 6)
    load_dataset(listed)
    assert not (listed.parents[1] / "cache").exists()


def test_a_full_disk_is_not_an_error(listed: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with full_disk(100):
        dataset = load_dataset(listed, classes=5)
    assert len(dataset.problems) == 3
    assert not list((tmp_path / "cache").rglob("*.npz"))
