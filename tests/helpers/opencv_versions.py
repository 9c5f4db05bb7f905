"""The versions of OpenCV for the tests, each run in a separate process, because a process can load only one.

``DARKNET_OPENCV`` lists folders that contain a ``cv2`` each, separated by colons: those of ``pip install --target DIR
opencv-python-headless==4.14.*``. Without it the installed version is used, if there is one.
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
    """Folders by the version of OpenCV in them; empty for the installed one."""
    by_version = {}
    for folder in filter(None, os.environ.get("DARKNET_OPENCV", "").split(":")):
        by_version[_version(folder)] = folder
    if not by_version and importlib.util.find_spec("cv2") is not None:
        by_version[_version("")] = ""
    return by_version


def _version(folder: str) -> str:
    code = "import cv2; print(cv2.__version__, cv2.__file__)"
    version, _, file = run(folder, code).strip().partition(" ")
    assert file.startswith((folder, os.path.realpath(folder))), f"DARKNET_OPENCV: no OpenCV in {folder}"
    return version


def find_folder(major: int) -> str:
    """Return the folder of a major version; skip the test if there is none."""
    for version, folder in folders().items():
        if version.startswith(f"{major}."):
            return folder
    pytest.skip(f"no OpenCV {major} here: DARKNET_OPENCV names folders with one each, see CONTRIBUTING.md")


def run(folder: str, code: str, *arguments: str) -> str:
    """Run code with the OpenCV of a folder and return what it prints."""
    start = f"import sys; sys.path[:0] = [{folder!r}] if {folder!r} else []\n"
    result = subprocess.run(
        [sys.executable, "-c", start + code, *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
