"""``detect --track``: ids and counts in text, JSON, CSV, images and videos."""

from __future__ import annotations

import csv
import json
import pathlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from darknet_py import cli
from tests.helpers import moving_digits

pytest.importorskip("trackers", reason="tracking needs it: pip install 'darknet-torch[track]'")

FRAMES = 46
OPTIONS = ("--track", "--line", "0.5,0,0.5,1", "--zone", "24,0,72,0,72,96,24,96", "--conf", "0.5")
COUNTS = """line 1: in 1 (eight 1), out 1 (three 1)
zone 1: in 2 (eight 1, three 1), out 2 (eight 1, three 1), inside 0
"""


@pytest.fixture
def place(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ids(frames: list[dict[str, Any]]) -> dict[str, set[int]]:
    """The numbers of each class, without the first frame."""
    found: dict[str, set[int]] = {}
    for one in frames[1:]:
        for box in one["boxes"]:
            found.setdefault(box["name"], set()).add(box["track_id"])
    return found


def test_a_video_is_tracked_and_counted(place: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av", reason="videos are read with PyAV: pip install 'darknet-torch[video]'")
    from darknet_py.video.reader import open_video

    moving_digits.write_video(place / "clip.mp4", moving_digits.CROSSING, FRAMES)
    outputs = ("--jsonl", "a.jsonl", "--csv", "a.csv", "--save", "out")
    assert cli.main(["detect", "digits", "clip.mp4", *OPTIONS, *outputs]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith(COUNTS)
    assert " three " in printed.splitlines()[-3] or " eight " in printed.splitlines()[-3]
    assert printed.splitlines()[-3].endswith(("#0", "#1"))
    frames = [json.loads(line) for line in pathlib.Path("a.jsonl").read_text().splitlines()]
    found = ids(frames)
    assert [len(found[name]) for name in ("three", "eight")] == [1, 1]
    assert found["three"] != found["eight"]
    assert frames[0]["counts"][0]["classes"] == {}
    assert frames[-1]["counts"][0]["classes"] == {"three": {"in": 0, "out": 1}, "eight": {"in": 1, "out": 0}}
    rows = list(csv.DictReader(pathlib.Path("a.csv").read_text().splitlines()))
    assert list(rows[0])[:3] == ["path", "index", "timestamp"]
    assert (rows[0]["track_id"], rows[0]["index"]) == ("", "0")
    assert {(row["name"], row["track_id"]) for row in rows if row["index"] == "45"} == {
        (name, str(*found[name])) for name in ("three", "eight")
    }
    with open_video("out/clip.mp4") as video:
        drawn = list(video)
    assert len(drawn) == FRAMES
    column = drawn[0].image[80, 46:51].astype(int)  # of the line, which is yellow
    assert (column[:, 0] - column[:, 2]).max() > 100


def test_images_of_a_folder_are_a_sequence(place: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "frames").mkdir()
    for number in range(0, FRAMES, 2):
        image = moving_digits.render(moving_digits.CROSSING, number)
        Image.fromarray(image).save(place / "frames" / f"{number:03}.png")
    assert (
        cli.main(["detect", "digits", "frames", *OPTIONS, "--json", "a.json", "--csv", "a.csv", "--save", "out"]) == 0
    )
    assert capsys.readouterr().out.endswith(COUNTS)
    results = json.loads(pathlib.Path("a.json").read_text())
    found = ids(results)
    assert [len(found[name]) for name in ("three", "eight")] == [1, 1]
    assert results[-1]["counts"][1]["inside"] == {}
    assert pathlib.Path("a.csv").read_text().splitlines()[0] == "path,class,name,confidence,x1,y1,x2,y2,track_id"
    drawn = np.asarray(Image.open("out/000.png"))
    assert (drawn[90, 47:50] == (255, 200, 0)).all(axis=-1).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["a.png", "--track"], "--track: a.png is a single image: expected a video, a stream or a folder of images"),
        (["a.png", "--line", "1,2,3"], "--line: expected four numbers X1,Y1,X2,Y2, got '1,2,3'"),
        (["a.png", "--line", "1,2,3,x"], "--line: expected numbers separated by commas, got '1,2,3,x'"),
        (["a.png", "--zone", "1,2,3,4"], "--zone: expected X,Y of three or more corners, got '1,2,3,4'"),
        (["a.png", "--line", "1,2,1,2"], "line: expected different points, got 1,2,1,2"),
    ],
)
def test_what_cannot_be_tracked_is_one_sentence(
    options: list[str], message: str, place: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (96, 96)).save("a.png")
    assert cli.main(["detect", "digits", *options]) == 1
    assert capsys.readouterr().err == f"darknet-py: {message}\n"
