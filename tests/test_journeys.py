"""The journeys of docs/journeys.md: the lines of the page, in an environment of what its first line installs."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from darknet_py.detector import Detector
from tests.helpers import environments
from tests.helpers.browser import chromium
from tests.helpers.paths import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the lines are bash's"),
]
PAGE = (ROOT / "docs" / "journeys.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
INSTALL, CONVERT, TRAIN, DETECT, RECORD, COUNT, SERVE = BLOCKS


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What the first line of the page installs."""
    extras = re.search(r"'\.\[([\w,]+)\]'", INSTALL)
    assert extras is not None
    wheel = environments.build_wheel(tmp_path_factory.mktemp("wheel"))
    environment = environments.make(tmp_path_factory.mktemp("environment") / "venv")
    environments.pip(environment, f"{wheel}[{extras[1]}]", "pip")  # pip downloads the photograph, as in any venv
    return environment


@pytest.fixture(scope="module")
def folder(environment: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the data set of the first journey."""
    folder = tmp_path_factory.mktemp("journey")
    run(CONVERT, environment, folder)
    return folder


def run(lines: str, environment: pathlib.Path, folder: pathlib.Path) -> None:
    code, errors = environments.run(lines, environment, folder, OMP_NUM_THREADS="1")
    assert code == 0, errors


def test_five_formats_become_trained_models(environment: pathlib.Path, folder: pathlib.Path) -> None:
    run(TRAIN, environment, folder)
    scores = {path.stem: json.loads(path.read_text())["map"] for path in folder.glob("*.json")}
    assert set(scores) == {"ultralytics", "coco", "voc", "cvat", "labelme"}
    (printed,) = re.findall(r"^mAP@0.50 = ([\d.]+) %$", PAGE, re.MULTILINE)
    assert all(100 * score == pytest.approx(float(printed), abs=2) for score in scores.values()), scores
    run(DETECT, environment, folder)
    assert (folder / "detected" / "00000.png").stat().st_size


def test_a_video_has_ids_and_counts(environment: pathlib.Path, folder: pathlib.Path) -> None:
    run(RECORD, environment, folder)
    run(COUNT, environment, folder)
    frames = [json.loads(line) for line in (folder / "street.jsonl").read_text().splitlines()]
    assert len(frames) == 30
    assert {box["track_id"] for frame in frames for box in frame["boxes"]} >= {1, 2}
    (counts,) = re.findall(r"^line 1: in (\d+) \(person \d+\), out (\d+)$", PAGE, re.MULTILINE)
    (line,) = frames[-1]["counts"]
    assert tuple(line["classes"]["person"][way] for way in ("in", "out")) == tuple(map(int, counts))
    assert (folder / "detected" / "street.mp4").stat().st_size


@pytest.fixture
def address(environment: pathlib.Path, folder: pathlib.Path) -> Iterator[str]:
    """The address of the served model."""
    (line,) = SERVE.splitlines()
    words = [str(environment / "bin" / word) if word == "darknet-py" else word for word in line.split()]
    server = subprocess.Popen([*words, "--port", "0"], cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        for text in server.stderr:
            if found := re.search(r"http://[\w.:]+", text):
                yield found[0]
                return
        pytest.fail("the server has ended")
    finally:
        server.terminate()
        server.communicate()


def test_a_model_in_the_browser_finds_the_boxes_of_the_detector(address: str, folder: pathlib.Path) -> None:
    image = folder / "set" / "valid" / "00000.png"
    with chromium() as browser:
        browser.open(address)
        browser.wait("return document.getElementById('model').textContent.includes('digits.cfg')")
        browser.drop("drop", image.read_bytes(), image.name)
        browser.wait("return document.getElementById('status').textContent.includes('detection')")
        names = browser.run("return [...document.querySelectorAll('#rows tr')].map(row => row.cells[0].textContent)")
    expected = [row["name"] for row in Detector("digits")(image).summary()]
    assert names == expected
    assert expected
