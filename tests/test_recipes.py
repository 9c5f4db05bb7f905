"""The Python of docs/recipes.md does what the page says, with the real packages."""

from __future__ import annotations

import functools
import pathlib
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from darknet_py.video.reader import open_video
from tests.commands.test_cli import model
from tests.helpers import tiny_videos

__all__ = ["model"]  # a fixture

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "recipes.md"


@functools.cache
def recipes() -> dict[str, str]:
    """Each Python block by the heading above it; the second one below a heading has 2 behind it."""
    found: dict[str, str] = {}
    heading = ""
    for title, code in re.findall(r"^## ([^\n]*)$|^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        heading = title or heading
        if code:
            found[f"{heading} 2" if heading in found else heading] = code
    return found


@pytest.fixture
def scene(model: tuple[str, str]) -> None:
    """A folder with the page's files: the network sees a dog in the middle of everything."""
    for name in ("cfg", "weights"):
        pathlib.Path(f"tiny.{name}").rename(f"my.{name}")
    pathlib.Path("tiny.names").rename("my.names")
    Image.new("RGB", (100, 80), (90, 120, 60)).save("photo.jpg")


def cook(heading: str, *packages: str) -> dict[str, Any]:
    for package in packages:
        pytest.importorskip(package, reason=f"this recipe is for {package}: pip install {package}")
    names: dict[str, Any] = {}
    if "clip.mp4" in recipes()[heading]:
        pytest.importorskip("av", reason="videos need PyAV: pip install 'darknet-torch[video]'")
        tiny_videos.write_video(pathlib.Path("clip.mp4"), 10)
    exec(compile(recipes()[heading], f"docs/recipes.md: {heading}", "exec"), names)
    return names


def test_every_recipe_is_cooked() -> None:
    text = pathlib.Path(__file__).read_text()
    assert len(recipes()) == 6
    assert not [heading for heading in recipes() if f'cook("{heading}"' not in text]


@pytest.mark.usefixtures("scene")
def test_a_video_frame_by_frame(capsys: pytest.CaptureFixture[str]) -> None:
    assert cook("A video, a camera or a stream, frame by frame")["seen"] == 10
    assert '0.36 [\n  {\n    "name": "dog"' in capsys.readouterr().out


@pytest.mark.usefixtures("scene")
def test_objects_are_followed() -> None:
    paths = cook("Follow objects", "supervision", "trackers")["paths"]
    assert len(paths) == 1
    (path,) = paths.values()
    assert len(path) >= 8
    assert path[-1] == pytest.approx((0.36, 36, 24, 60, 40), abs=0.5)


@pytest.mark.usefixtures("scene")
def test_objects_are_counted_in_a_zone() -> None:
    names = cook("Count in a zone and over a line", "supervision", "trackers")
    assert max(names["inside"]) == 1
    assert (names["line"].in_count, names["line"].out_count) == (0, 0)


@pytest.mark.usefixtures("scene")
def test_supervision_draws_a_video() -> None:
    cook("Draw with supervision and write a video", "supervision")
    with open_video("drawn.mp4") as video:
        assert (video.fps, video.frame_count) == (tiny_videos.FPS, 10)
        assert np.abs(next(video).image.astype(int) - tiny_videos.render_frame(0)).max() > 100


@pytest.mark.usefixtures("scene")
def test_a_large_image_in_tiles() -> None:
    names = cook("Small objects in large images")
    assert len(names["result"]) > 4  # the network sees a dog in the middle of each tile
    assert set(names["result"].boxes.cls.tolist()) == {1}


@pytest.mark.usefixtures("scene")
def test_a_large_image_with_inference_slicer() -> None:
    assert len(cook("Small objects in large images 2", "supervision")["detections"]) > 4
