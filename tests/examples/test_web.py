"""examples/web: the page finds the boxes of ``Detector`` in Chromium, and loads nothing from another server.

``ONNXRUNTIME_WEB`` names a folder node_modules with onnxruntime-web, if ``npm install`` was not run in examples/web.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import darknet_py
from darknet_py.detector import Detector
from tests.helpers import paths, served_digits
from tests.helpers.browser import Browser, chromium

pytest.importorskip("onnxscript", reason="export to ONNX needs onnxscript: pip install 'darknet-torch[export]'")
pytestmark = pytest.mark.slow

SOURCE = paths.ROOT / "examples" / "web"
PIXELS = 0.05  # of a corner: another build of ONNX Runtime
_ROWS = "return [...document.querySelectorAll('#rows tr')].map(row => [...row.cells].map(cell => cell.textContent))"
_DONE = "return /objects in/.test(document.getElementById('status').textContent)"
_ERROR = "return document.getElementById('error').textContent"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without lines on stderr."""

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def serving(folder: pathlib.Path) -> Iterator[str]:
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The page with its packages."""
    modules = pathlib.Path(os.environ.get("ONNXRUNTIME_WEB", SOURCE / "node_modules"))
    if not (modules / "onnxruntime-web").is_dir():
        pytest.skip("needs onnxruntime-web: run npm install in examples/web")
    folder = tmp_path_factory.mktemp("web")
    for name in ("index.html", "detect.js"):
        (folder / name).write_bytes((SOURCE / name).read_bytes())
    (folder / "node_modules").symlink_to(modules.resolve())
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def compare(browser: Browser, root: str, detector: Detector, model: str, image: pathlib.Path) -> None:
    """Choose an image on the page, and compare the table with the detector's results."""
    browser.open(f"{root}/index.html?model={model}")
    browser.type("#file", str(image))
    browser.wait(_DONE + f" || ({_ERROR.removeprefix('return ')} !== '')", 120)
    assert browser.run(_ERROR) == ""
    rows = browser.run(_ROWS)
    expected = detector(image).summary()
    assert len(expected) > 2
    assert [row[0] for row in rows] == [each["name"] for each in expected]
    boxes = np.array([[each["confidence"], *each["box"].values()] for each in expected])
    found = np.array([row[1:] for row in rows], float)
    np.testing.assert_allclose(found[:, 0], boxes[:, 0], atol=1e-4)
    np.testing.assert_allclose(found[:, 1:], boxes[:, 1:], atol=PIXELS)
    names = browser.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(name.startswith((root, "blob:")) for name in names)
    browser.screenshot(pathlib.Path(os.environ.get("DARKNET_SCREENSHOTS", image.parent)) / f"web-{image.stem}.png")


@pytest.mark.parametrize("letterbox", [False, True])
def test_digits(browser: Browser, folder: pathlib.Path, tmp_path: pathlib.Path, letterbox: bool) -> None:
    (tmp_path / "digits.png").write_bytes(served_digits.wide_png())
    detector = Detector("digits", letterbox=letterbox, threshold=0.05)
    options: dict[str, Any] = {
        "letterbox": letterbox,
        "threshold": detector.options.threshold,
        "nms": detector.nms,
        "names": detector.names,
    }
    darknet_py.export(detector.network, folder / f"digits{letterbox}.onnx", heads="nms", **options)
    with serving(folder) as root:
        compare(browser, root, detector, f"digits{letterbox}.onnx", tmp_path / "digits.png")


def test_a_photograph(
    browser: Browser,
    folder: pathlib.Path,
    yolov4_tiny_weights: pathlib.Path,
    shared: pathlib.Path,
    tmp_path: pathlib.Path,
) -> None:
    network = darknet_py.load(paths.CFGS / "yolov4-tiny.cfg", yolov4_tiny_weights, device="cpu")
    detector = Detector(network, names=paths.CFGS / "coco.names")
    darknet_py.export(detector.network, folder / "model.onnx", heads="nms", dynamic="batch", names=detector.names)
    (tmp_path / "dog.jpg").write_bytes((shared / "data" / "photographs" / "dog.jpg").read_bytes())
    with serving(folder) as root:
        compare(browser, root, detector, "model.onnx", tmp_path / "dog.jpg")


def test_errors_are_shown(browser: Browser, folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with serving(folder) as root:
        browser.open(f"{root}/index.html?model=index.html")
        assert "expected a file of darknet-py export --heads nms, found another file" in browser.wait(_ERROR)
        browser.type("#file", str(tmp_path / "a.png"))
        browser.wait(_ERROR + " === 'This browser does not read the file as an image.'")
