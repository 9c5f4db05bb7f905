"""A headless Chromium, driven over WebDriver's protocol, without a package: https://www.w3.org/TR/webdriver2/."""

from __future__ import annotations

import base64
import json
import pathlib
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's id in the protocol
_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,900"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)


# An element takes a file as when a person drops it.
_DROP = """
const [id, content, name, type] = arguments;
const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], name, {type}));
document.getElementById(id).dispatchEvent(
  new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer: transfer}));
"""


class Browser:
    """A session of a browser."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        chrome = {"args": list(_OPTIONS), "binary": shutil.which("chromium")}
        logs = {"browser": "ALL"}
        capabilities = {"alwaysMatch": {"goog:chromeOptions": chrome, "goog:loggingPrefs": logs}}
        self._session = self._call("POST", "/session", {"capabilities": capabilities})["sessionId"]

    def _call(self, method: str, path: str, content: object = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.loads(response.read())["value"]

    def _in_session(self, method: str, path: str, content: object = None) -> Any:
        return self._call(method, f"/session/{self._session}{path}", content)

    def open(self, url: str) -> None:
        self._in_session("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """Run a function body of JavaScript, and return its result; a promise is awaited."""
        return self._in_session("POST", "/execute/sync", {"script": script, "args": arguments})

    def drop(self, element: str, content: bytes, name: str, kind: str = "image/png") -> None:
        """Drop a file on the element of this id."""
        self.run(_DROP, element, base64.b64encode(content).decode(), name, kind)

    def type(self, selector: str, text: str) -> None:
        """Type into an element; for the field of a file, its path."""
        element = self._in_session("POST", "/element", {"using": "css selector", "value": selector})
        self._in_session("POST", f"/element/{element[_ELEMENT]}/value", {"text": text})

    def wait(self, script: str, seconds: float = 60) -> Any:
        """Run a function body until its result is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"waited for {script}; the page says {self.run(_TEXT)!r}"
            time.sleep(0.1)
        return value

    def console(self) -> list[str]:
        """The messages of the page's console since the last call."""
        return [entry["message"] for entry in self._in_session("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path: pathlib.Path) -> None:
        path.write_bytes(base64.b64decode(self._in_session("GET", "/screenshot")))

    def close(self) -> None:
        self._in_session("DELETE", "")


_TEXT = "return document.body.innerText"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; without Chromium and its driver the test is skipped."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("needs chromium and chromedriver: apt install chromium chromium-driver")
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout
        line = next(line for line in driver.stdout if "started successfully on port" in line)
        browser = Browser(int(line.rstrip(".\n").rpartition(" ")[2]))
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.kill()
        driver.communicate()
