"""Image sources of the command line: files, folders, patterns, lists and samples."""

from __future__ import annotations

import io
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from darknet_py.commands import _video
from darknet_py.data.formats import load_dataset
from darknet_py.errors import DataError
from darknet_py.hub import catalogue
from darknet_py.images import sources, urls


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    for name in ("b.jpg", "a.PNG", "c.webp", "notes.md", "._a.PNG", ".hidden.jpg"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_is_expanded_to_its_images_in_order(folder: pathlib.Path) -> None:
    assert [pathlib.Path(p).name for p in sources.expand_sources([str(folder)])] == ["a.PNG", "b.jpg", "c.webp"]


def test_a_name_that_begins_with_a_dot_is_no_image(folder: pathlib.Path) -> None:
    (folder / "set").mkdir()
    for name in ("a.jpg", "._a.jpg"):
        (folder / "set" / name).touch()
    assert [pathlib.Path(sample.image).name for sample in load_dataset(folder / "set", "train")] == ["a.jpg"]


@pytest.mark.usefixtures("folder")
def test_sources_keep_their_order_and_matches_are_sorted() -> None:
    assert sources.expand_sources(["c.webp", "*.[jP]*"]) == ["c.webp", "a.PNG", "b.jpg"]


@pytest.mark.parametrize("name", ["list.txt", "list.list", "LIST.TXT"])
def test_lists_and_file_urls_are_local_paths(name: str, folder: pathlib.Path) -> None:
    (folder / "a b.jpg").touch()
    (folder / name).write_text("b.jpg\n")
    path = str(folder / "a b.jpg")
    assert sources.expand_sources([name, (folder / "a b.jpg").as_uri()]) == ["b.jpg", path]
    assert _video.split_videos([(folder / "a b.jpg").as_uri()]) == ([path], [])


def test_paths_of_a_list_are_relative_to_the_working_directory_or_to_the_list(folder: pathlib.Path) -> None:
    lists = folder / "lists"
    lists.mkdir()
    (lists / "own.jpg").touch()
    (lists / "list.txt").write_text("b.jpg\n\nown.jpg\r\n")
    assert sources.expand_sources(["lists/list.txt"]) == ["b.jpg", str(pathlib.Path("lists/own.jpg"))]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.jpg", "missing.jpg: no such file or folder"),
        ("x" * 5000, "x: no such file or folder"),
        ("*.bmp", r"\*.bmp: nothing matches"),
        ("empty", "empty: no images in this folder"),
        ("empty.txt", "empty.txt: an empty list"),
    ],
)
def test_a_source_without_images_is_an_error(name: str, message: str) -> None:
    pathlib.Path("empty").mkdir()
    pathlib.Path("empty.txt").write_text("\n")
    with pytest.raises(DataError, match=message):
        sources.expand_sources([name])


@pytest.mark.skipif(not os.path.exists("/dev/stdin"), reason="needs /dev/stdin")
@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_an_image_is_read_from_a_pipe(name: str, tmp_path: pathlib.Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    code = f"""
from darknet_py.images import reading, sources
for path in sources.expand_sources([{name!r}]):
    print(reading.read_image(path).tolist())
"""
    content = (tmp_path / "a.png").read_bytes()
    result = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, check=True)
    assert json.loads(result.stdout) == pixels.tolist()


def test_a_pipe_without_an_end_is_read_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "MAX_BYTES", 10)
    with pytest.raises(DataError, match=r"^a: expected an image of at most 10 bytes, found more$"):
        urls.read_limited(io.BytesIO(b"x" * 11), "a")
    assert urls.read_limited(io.BytesIO(b"x" * 10), "a") == b"x" * 10


def test_a_sample_of_the_catalogue_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "fetch", lambda name: pathlib.Path("cache", name))
    assert sources.expand_sources(["sample:bus"]) == [str(pathlib.Path("cache", "sample:bus"))]


def test_files_that_are_left_out_are_counted(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.jpg", "b.JFIF", "c.heic", "d.mp4", "e.HEIC", "a.txt", "a.xml", ".hidden.heic"):
        (tmp_path / name).touch()
    with caplog.at_level("WARNING"):
        found = sources.expand_sources([str(tmp_path)])
    assert [pathlib.Path(path).name for path in found] == ["a.jpg", "b.JFIF"]
    assert caplog.messages == [f"{tmp_path}: 3 files left out, which are not read as images: .heic .mp4"]
