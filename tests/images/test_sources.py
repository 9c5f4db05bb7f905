"""What names on the command line stand for."""

from __future__ import annotations

import pathlib

import pytest

from darknet_py.errors import DataError
from darknet_py.hub import catalogue
from darknet_py.images import sources


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    for name in ("b.jpg", "a.PNG", "c.webp", "notes.md"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_gives_its_images_in_order(folder: pathlib.Path) -> None:
    assert [pathlib.Path(p).name for p in sources.expand([str(folder)])] == ["a.PNG", "b.jpg", "c.webp"]


@pytest.mark.usefixtures("folder")
def test_names_keep_their_order_and_patterns_are_sorted() -> None:
    assert sources.expand(["c.webp", "*.[jP]*"]) == ["c.webp", "a.PNG", "b.jpg"]


def test_a_list_is_relative_to_the_working_folder_or_to_itself(folder: pathlib.Path) -> None:
    lists = folder / "lists"
    lists.mkdir()
    (lists / "own.jpg").touch()
    (lists / "list.txt").write_text("b.jpg\n\nown.jpg\r\n")
    assert sources.expand(["lists/list.txt"]) == ["b.jpg", str(pathlib.Path("lists/own.jpg"))]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.jpg", "missing.jpg: no such file or folder"),
        ("*.bmp", r"\*.bmp: nothing matches"),
        ("empty", "empty: no images in this folder"),
        ("empty.txt", "empty.txt: an empty list"),
    ],
)
def test_a_name_that_gives_nothing_is_an_error(name: str, message: str) -> None:
    pathlib.Path("empty").mkdir()
    pathlib.Path("empty.txt").write_text("\n")
    with pytest.raises(DataError, match=message):
        sources.expand([name])


def test_a_sample_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "fetch", lambda name: pathlib.Path("cache", name))
    assert sources.expand(["sample:bus"]) == [str(pathlib.Path("cache", "sample:bus"))]
