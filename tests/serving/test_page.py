"""The page in a browser: an image that is dropped, chosen or pasted, the webcam, options, errors, no other server."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import pytest

from darknet_py.detector import Detector
from tests.helpers import served_digits, tiny_videos
from tests.helpers.browser import Browser, chromium
from tests.serving.test_server import Server, running

pytest.importorskip("uvicorn", reason="serving needs uvicorn: pip install 'darknet-torch[serve]'")
pytestmark = pytest.mark.slow

_STATUS = "return document.getElementById('status').textContent.includes('detection')"
_ROWS = "return [...document.querySelectorAll('#rows tr')].map(row => [...row.cells].map(cell => cell.textContent))"
_ERROR = "return document.getElementById('error').textContent"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("-m", "darknet_py", "serve", "digits", "--port", "0") as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(server: Server, browser: Browser) -> Browser:
    browser.open(f"http://127.0.0.1:{server.port}/")
    browser.wait("return document.getElementById('model').textContent.includes('digits.cfg')")
    return browser


def drop(page: Browser, content: bytes, kind: str = "image/png") -> None:
    page.drop("drop", content, "digits.png", kind)


def keep(page: Browser, name: str, folder: pathlib.Path) -> None:
    """Keep a screenshot, in the folder that the environment names to look at it."""
    page.screenshot(pathlib.Path(os.environ.get("DARKNET_SCREENSHOTS", folder)) / f"{name}.png")


def expected_rows(detector: Detector, content: bytes) -> list[list[str]]:
    rows = []
    for each in detector(content).summary():
        x1, y1, x2, y2 = each["box"].values()
        box = (f"{value:.0f}" for value in (x1, y1, x2 - x1, y2 - y1))
        rows.append([each["name"], f"{100 * each['confidence']:.1f}%", *box])
    return rows


def test_a_dropped_image_is_shown_with_its_boxes(page: Browser, tmp_path: pathlib.Path) -> None:
    drop(page, served_digits.png())
    page.wait(_STATUS)
    assert page.run(_ROWS) == expected_rows(served_digits.detector(), served_digits.png())
    box = served_digits.detector()(served_digits.png()).summary()[0]["box"]
    # The pixel on the lower edge of the first box has the colour of its class, hsl(number * 137, 85 %, 40 %).
    pixel = page.run(
        "const canvas = document.getElementById('canvas'), scale = canvas.width / 96;"
        "const [x, y] = [...arguments].map(value => Math.round(value * scale));"
        "return [...canvas.getContext('2d').getImageData(x, y, 1, 1).data]",
        (box["x1"] + box["x2"]) / 2,
        box["y2"],
    )
    assert pixel[3] == 255
    assert max(pixel[:3]) - min(pixel[:3]) > 60  # the digits and their paper have no such colour
    keep(page, "dropped", tmp_path)
    assert page.console() == []


def test_options_change_the_boxes(page: Browser) -> None:
    drop(page, served_digits.png())
    page.wait(_STATUS)
    page.type("#classes", "five, six")
    expected = expected_rows(served_digits.detector().with_options(classes=["five", "six"]), served_digits.png())
    page.wait(f"return document.querySelectorAll('#rows tr').length === {len(expected)}")
    assert page.run(_ROWS) == expected
    page.type("#classes", "x")
    assert "classes: expected class names or numbers" in page.wait(_ERROR)


def test_a_file_is_chosen_with_the_keyboard_and_a_broken_one_gets_a_sentence(
    page: Browser, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "digits.png").write_bytes(served_digits.png(1))
    page.type("#file", str(tmp_path / "digits.png"))
    page.wait(_STATUS)
    assert page.run(_ROWS) == expected_rows(served_digits.detector(), served_digits.png(1))
    focusable = page.run("return [...document.querySelectorAll('input, button')].every(each => each.tabIndex === 0)")
    assert focusable
    drop(page, b"no image")
    assert page.wait(_ERROR) == "This browser does not read the file as an image."


def test_the_webcam_is_detected_frame_by_frame(page: Browser, tmp_path: pathlib.Path) -> None:
    page.run("document.getElementById('webcam').click()")
    page.wait("return !document.getElementById('canvas').hidden")
    assert page.run("return document.getElementById('webcam').textContent") == "Close webcam"
    keep(page, "webcam", tmp_path)
    page.run("document.getElementById('webcam').click()")
    assert page.run("return document.getElementById('webcam').textContent") == "Open webcam"
    assert page.run(_ERROR) == ""


def test_the_video_of_the_server_is_shown(browser: Browser, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("av", reason="videos are read with PyAV: pip install 'darknet-torch[video]'")
    clip = tiny_videos.write_video(tmp_path / "clip.mp4", 20)
    with running("-m", "darknet_py", "serve", "digits", "--port", "0", "--source", str(clip)) as server:
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.wait("return !document.getElementById('stream').hidden")
        browser.run("document.getElementById('stream').click()")
        browser.wait("return document.getElementById('video').naturalWidth === 96")
        keep(browser, "video", tmp_path)
        browser.run("document.getElementById('stream').click()")
        assert browser.run("return document.getElementById('video').hidden")


def test_nothing_comes_from_another_server(page: Browser, server: Server) -> None:
    drop(page, served_digits.png())
    page.wait(_STATUS)
    names = page.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert {name.split("/v1/")[0] for name in names} == {f"http://127.0.0.1:{server.port}"}
