"""The Python blocks of docs/recipes.md run with the packages that they name, and do what the page says."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

import darknet_py as dk
from darknet_py.video.reader import open_video
from tests.commands.test_cli import model
from tests.helpers import tiny_videos

__all__ = ["model"]  # a fixture

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "recipes.md"


@functools.cache
def recipes() -> dict[str, str]:
    """The Python blocks by the heading above; the key of a second block below a heading ends with 2."""
    blocks: dict[str, str] = {}
    heading = ""
    for title, code in re.findall(r"^## ([^\n]*)$|^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        heading = title or heading
        if code:
            blocks[f"{heading} 2" if heading in blocks else heading] = code
    return blocks


@pytest.fixture
def scene(model: tuple[str, str]) -> None:
    """The files of the page: the network detects a dog in the centre of any image."""
    for name in ("cfg", "weights"):
        pathlib.Path(f"tiny.{name}").rename(f"my.{name}")
    pathlib.Path("tiny.names").rename("my.names")
    Image.new("RGB", (100, 80), (90, 120, 60)).save("photo.jpg")


def run_recipe(heading: str, *packages: str) -> dict[str, Any]:
    for package in packages:
        pytest.importorskip(package, reason=f"this recipe is for {package}: pip install {package}")
    names: dict[str, Any] = {}
    if "clip.mp4" in recipes()[heading]:
        pytest.importorskip("av", reason="videos need PyAV: pip install 'darknet-torch[video]'")
        tiny_videos.write_video(pathlib.Path("clip.mp4"), 10)
    exec(compile(recipes()[heading], f"docs/recipes.md: {heading}", "exec"), names)
    return names


def run_script(heading: str) -> None:
    """Run a recipe as a file in a process of its own."""
    pathlib.Path("recipe.py").write_text(recipes()[heading])
    environment = {
        **os.environ,
        "PYTHONPATH": str(PAGE.parents[1]),
        "RAY_worker_niceness": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
    }
    line = [sys.executable, "recipe.py"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr


def test_every_recipe_is_tested() -> None:
    text = pathlib.Path(__file__).read_text()
    assert len(recipes()) == 7
    assert not [heading for heading in recipes() if f'("{heading}"' not in text]


@pytest.mark.usefixtures("scene")
def test_a_video_is_detected_frame_by_frame(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_recipe("A video, a camera or a stream, frame by frame")["seen"] == 10
    assert '0.36 [\n  {\n    "name": "dog"' in capsys.readouterr().out


@pytest.mark.usefixtures("scene")
def test_objects_are_tracked() -> None:
    names = run_recipe("Track objects, count them at a line and in a zone", "trackers")
    paths = names["paths"]
    assert {number: len(path) for number, path in paths.items()} == {None: 1, 0: 9}
    assert paths[0][-1] == pytest.approx((0.36, 36, 24, 60, 40), abs=0.5)
    assert str(names["counters"][1]) == "in 0, out 0, inside 1 (dog 1)"
    with open_video("counted.mp4") as video:
        assert video.frame_count == 10


@pytest.mark.usefixtures("scene")
def test_objects_are_counted_with_supervision() -> None:
    names = run_recipe("Track and count with supervision", "supervision", "trackers")
    assert max(names["inside"]) == 1
    assert (names["line"].in_count, names["line"].out_count) == (0, 0)


@pytest.mark.usefixtures("scene")
def test_a_video_is_drawn_with_supervision() -> None:
    run_recipe("Draw with supervision and write a video", "supervision")
    with open_video("drawn.mp4") as video:
        assert (video.fps, video.frame_count) == (tiny_videos.FPS, 10)
        assert np.abs(next(video).image.astype(int) - tiny_videos.render_frame(0)).max() > 100


@pytest.mark.usefixtures("scene")
def test_a_large_image_is_detected_in_tiles() -> None:
    names = run_recipe("Small objects in large images")
    assert len(names["result"]) > 4  # a dog in the centre of each tile
    assert set(names["result"].boxes.cls.tolist()) == {1}


@pytest.mark.usefixtures("scene")
def test_a_large_image_is_detected_with_inference_slicer() -> None:
    assert len(run_recipe("Small objects in large images 2", "supervision")["detections"]) > 4


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray Data: pip install 'ray[data]'")
@pytest.mark.usefixtures("scene")
def test_images_are_detected_by_actors_of_ray() -> None:
    pathlib.Path("photos").mkdir()
    for number in range(5):
        shutil.copy("photo.jpg", f"photos/{number}.jpg")
    pathlib.Path("photos/3.jpg").write_bytes(b"no image")
    run_script("Many images on several machines with Ray Data")
    table = importlib.import_module("pyarrow.parquet").read_table("detections").to_pylist()
    boxes = {pathlib.Path(row["path"]).name: row["boxes"] for row in table}
    expected = dk.Detector(dk.load("my.cfg", "my.weights"), names="my.names")("photo.jpg").to_json()
    assert json.loads(expected)[0]["name"] == "dog"
    assert boxes == {f"{number}.jpg": "" if number == 3 else expected for number in range(5)}
