"""The OpenCVs that tests run, each in a process of its own: two versions cannot be loaded into one.

``DARKNET_OPENCV`` names folders that hold a ``cv2`` each, as ``pip install --target DIR
opencv-python-headless==4.14.*`` makes them, with a colon between; without it the installed one is taken, if
there is one.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys

import pytest


@functools.cache
def folders() -> dict[str, str]:
    """Folders by the version of the OpenCV in them; of the installed one the folder is empty."""
    found = {}
    for folder in filter(None, os.environ.get("DARKNET_OPENCV", "").split(":")):
        found[_version(folder)] = folder
    if not found and importlib.util.find_spec("cv2") is not None:
        found[_version("")] = ""
    return found


def _version(place: str) -> str:
    code = "import cv2; print(cv2.__version__, cv2.__file__)"
    version, _, file = run(place, code).strip().partition(" ")
    assert file.startswith((place, os.path.realpath(place))), f"DARKNET_OPENCV: no OpenCV in {place}"
    return version


def folder(major: int) -> str:
    """The folder of that version; the test is skipped where there is none."""
    for version, place in folders().items():
        if version.startswith(f"{major}."):
            return place
    pytest.skip(f"no OpenCV {major} here: DARKNET_OPENCV names folders with one each, see CONTRIBUTING.md")


def run(place: str, code: str, *arguments: str) -> str:
    """What ``code`` prints with that OpenCV."""
    start = f"import sys; sys.path[:0] = [{place!r}] if {place!r} else []\n"
    done = subprocess.run([sys.executable, "-c", start + code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
