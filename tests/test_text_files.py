"""Text files in any encoding, and the files that they name."""

from __future__ import annotations

import io
import json
import logging
import os
import pathlib
import sys

import pytest

from darknet_py import cli, text_files
from darknet_py.data import data_file
from darknet_py.data.formats import load_dataset
from darknet_py.errors import DataError
from darknet_py.images.sources import expand_sources
from tests.helpers.data_files import rounded_targets, write_image, write_text

TEXT = "bus\ngrün\nшесть\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_names_in_every_unicode_encoding_are_read(tmp_path: pathlib.Path, encoding: str) -> None:
    path = tmp_path / "a.names"
    path.write_bytes(TEXT.encode(encoding))
    assert data_file.read_names(path) == ("bus", "grün", "шесть")


def test_names_in_a_code_page_are_decoded_for_display(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.names"
    path.write_bytes(b"f\xfcnf\n5 \x80\nx\x81\n")  # 0x81 is not in Windows-1252
    assert data_file.read_names(path)[0] == "fünf"
    path.write_bytes(b"5 \x80\n")
    assert data_file.read_names(path) == ("5 €",)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(tmp_path: pathlib.Path, end: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(f"a b.png{end}{end}c\u2028.png{end}".encode())
    assert text_files.read_list(path) == ["a b.png", "c\u2028.png"]


def test_binary_data_is_not_text(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"ab\0cd\n\0\xff")
    with pytest.raises(DataError, match=r"list\.txt: expected text, found binary data"):
        text_files.read_lines(path)
    with pytest.raises(DataError, match="embedded null byte"):
        text_files.read_lines("a\0b")


def test_a_list_in_a_code_page_finds_names_in_that_code_page_and_in_utf8(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("list.txt").write_bytes(b"gr\xfcn.png\nfr\xfch.png\n")
    image = write_image(tmp_path / "grün.png")
    try:
        pathlib.Path(os.fsdecode(b"fr\xfch.png")).write_bytes(pathlib.Path(image).read_bytes())
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    assert expand_sources(["list.txt"]) == ["grün.png", os.fsdecode(b"fr\xfch.png")]


def test_a_label_file_in_utf16_is_read_and_a_binary_one_is_a_problem_of_its_image(tmp_path: pathlib.Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.png")
    (tmp_path / "a.txt").write_bytes("1 .5 .5 .25 .5\r\n".encode("utf-16"))
    (tmp_path / "b.txt").write_bytes(b"\0\1\2\3\0\0")
    dataset = load_dataset(tmp_path)
    assert rounded_targets(dataset) == [[[0.5, 0.5, 0.25, 0.5, 1.0]], []]
    (problem,) = dataset.problems
    assert problem.location == str(tmp_path / "b.txt")
    assert problem.message == "expected text, found binary data; treated as an image without objects"


@pytest.mark.parametrize(
    "written",
    [
        "images/a.jpg",
        "data/images/a.jpg",  # CVAT
        "/content/drive/set/images/a.jpg",
        "../images/a.jpg",  # Roboflow
        r"images\a.jpg",
        r"C:\Users\me\set\images\a.jpg",
        '"images/a.jpg"',
        "file:///images/a.jpg",
        "images/a.JPG",
    ],
)
def test_listed_files_are_found_beside_the_list(tmp_path: pathlib.Path, written: str) -> None:
    image = write_image(tmp_path / "set" / "images" / "a.jpg")
    (found,) = text_files.read_list(write_text(tmp_path / "set" / "list.txt", written))
    assert pathlib.Path(found) == pathlib.Path(image)


def test_files_are_found_in_the_folder_above(tmp_path: pathlib.Path) -> None:
    image = write_image(tmp_path / "data" / "a.jpg")
    (found,) = text_files.read_list(write_text(tmp_path / "cfg" / "list.txt", "data/a.jpg"))
    assert found == image


def test_what_is_there_as_written_is_taken_as_written(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / r"a\b.png")
    write_image(tmp_path / "a" / "b.png")
    write_image(tmp_path / "a" / "a" / "b.png")
    assert text_files.read_list(write_text(tmp_path / "a" / "list.txt", "a\\b.png\na/b.png")) == [r"a\b.png", "a/b.png"]


def test_left_out_folders_are_said_once(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in "abc":
        write_image(tmp_path / "set" / f"{name}.png")
    listed = write_text(tmp_path / "set" / "list.txt", "data/obj/a.png\ndata/obj/b.png\nset/c.png")
    with caplog.at_level(logging.WARNING):
        assert text_files.read_list(listed) == [str(tmp_path / "set" / f"{name}.png") for name in "abc"]
    assert caplog.messages == [
        f"{listed}: data/obj/a.png is not there; using {tmp_path / 'set' / 'a.png'}, and 1 more likewise"
    ]


def test_the_error_of_a_data_file_names_file_key_and_places(tmp_path: pathlib.Path) -> None:
    path = write_text(tmp_path / "d" / "my.data", "valid = x/list.txt")
    with pytest.raises(DataError) as error:
        load_dataset(path)
    assert str(error.value) == (
        f"{path}: valid: no such file or folder: 'x/list.txt'; tried x/list.txt, {tmp_path}/d/x/list.txt, "
        f"{tmp_path}/x/list.txt, {tmp_path}/d/list.txt, {tmp_path}/list.txt"
    )


def test_a_console_that_cannot_print_a_name_gets_escapes(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    console = io.TextIOWrapper(raw, encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", console)
    write_image(tmp_path / "set" / "a.png")
    write_text(tmp_path / "set" / "a.txt", "0 .5 .5 .5 .5")
    (tmp_path / "a.names").write_text("шесть\n", encoding="utf-8")
    data = write_text(tmp_path / "a.data", f"valid={tmp_path}/set.txt\nnames={tmp_path}/a.names")
    write_text(tmp_path / "set.txt", f"{tmp_path}/set/a.png")
    assert cli.main(["check", str(data), "--per-class"]) == 0
    assert r"\u0448\u0435\u0441\u0442\u044c" in raw.getvalue().decode("cp1252")
    assert console.errors == "strict"  # as it was


def test_json_keeps_a_file_name_that_is_not_utf8(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from darknet_py.commands import _records

    name = os.fsdecode(b"fr\xfch.png")
    _records.write_json(str(tmp_path / "a.json"), [name, "ш"])
    with _records.JsonLines(str(tmp_path / "a.jsonl")) as lines:
        lines.write({"path": name})
    assert json.loads((tmp_path / "a.json").read_bytes()) == [name, "ш"]
    assert json.loads((tmp_path / "a.jsonl").read_bytes()) == {"path": name}
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    _records.write_json("-", ["ш", "\U0001f600"])
    sys.stdout.flush()
    assert json.loads(raw.getvalue()) == ["ш", "\U0001f600"]


def test_text_that_is_no_path_is_named_by_its_place(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "set" / "a.png")
    write_text(tmp_path / "set" / "plain", "")
    text = "\nroot:secret:/plain\nsecret = 1\nplain\nx/a.png\nnone.png\n"
    assert text_files.read_list(write_text(tmp_path / "set" / "list.txt", text)) == [
        *(f"{tmp_path}/set/list.txt:{line}" for line in (2, 3)),
        *(str(tmp_path / "set" / name) for name in ("plain", "a.png")),
        "none.png",
    ]
    assert "secret" not in caplog.text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("key", ["names", "valid"])
def test_data_files_name_no_pipes_and_devices(tmp_path: pathlib.Path, key: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "list.txt").touch()
    entries = {"names": "list.txt", "valid": "list.txt", key: "pipe"}
    path = write_text(tmp_path / "a.data", "".join(f"{name} = {value}\n" for name, value in entries.items()))
    with pytest.raises(DataError, match=rf"a\.data: {key}: expected a regular file, found a device or pipe: .*pipe"):
        data_file.load_data_file(path)


def test_urls_in_a_list_are_kept(tmp_path: pathlib.Path) -> None:
    (tmp_path / "list.txt").write_text("https://host/a.png\nHTTP://host/b?size=3\nsecret\n")
    (tmp_path / "a.png").touch()
    urls = ["https://host/a.png", "HTTP://host/b?size=3"]
    assert text_files.read_list(tmp_path / "list.txt") == [*urls, f"{tmp_path / 'list.txt'}:3"]
