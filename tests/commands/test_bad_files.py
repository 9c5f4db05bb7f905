"""A bad file among good ones does not end a run: it is reported, the others are processed, the exit status is 1."""

from __future__ import annotations

import http.server
import json
import os
import pathlib
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

import darknet_py as dk
from darknet_py import cli
from darknet_py.detector import Detector
from darknet_py.results.results import Results
from tests.commands.test_cli import model
from tests.helpers import tiny_videos

__all__ = ["model"]  # a fixture


@pytest.fixture
def mixed(model: tuple[str, str]) -> tuple[str, str]:
    """Files of ``model``, and a folder with two images, one that is cut off and one that is a text."""
    folder = pathlib.Path("mixed")
    folder.mkdir()
    for name in ("a.png", "b.jpg", "c.png"):
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(folder / name)
    content = (folder / "b.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(content[:-20])
    (folder / "bad.jpg").write_text("a text")
    return model


def test_detect_reports_a_bad_image_and_writes_the_results_of_the_others(
    mixed: tuple[str, str], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert cli.main(["detect", *mixed, "mixed", "--json", "o.json", "--jsonl", "o.jsonl", "--save", "out"]) == 1
    paths = [pathlib.Path(one["path"]).name for one in json.loads(pathlib.Path("o.json").read_text())]
    assert paths == ["a.png", "b.jpg", "c.png"]
    assert len(pathlib.Path("o.jsonl").read_text().splitlines()) == 3
    assert sorted(path.name for path in pathlib.Path("out").iterdir()) == ["a.png", "b.jpg", "c.png"]
    streams = capsys.readouterr()
    assert streams.out.count("1 detection") == 3
    assert "darknet-py: mixed/bad.jpg: not an image" in streams.err
    assert streams.err.endswith("darknet-py: 1 image could not be read\n")
    assert ["ends early" in message for message in caplog.messages] == [True]


def test_ctrl_c_leaves_the_results_so_far(
    model: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Detector._load

    def interrupted(self: Detector, source: str) -> object:
        if source == "b.png":
            raise KeyboardInterrupt
        return load(self, source)

    def in_this_thread(self: Detector, sources: list[str], **_: object) -> Iterator[Results]:
        return (self(source) for source in sources)

    monkeypatch.setattr(Detector, "_load", interrupted)
    monkeypatch.setattr(Detector, "stream", in_this_thread)
    assert cli.main(["detect", *model, "a.png", "b.png", "--json", "o.json", "--darknet-json", "d.json"]) == 130
    assert [one["path"] for one in json.loads(pathlib.Path("o.json").read_text())] == ["a.png"]
    assert [one["filename"] for one in json.loads(pathlib.Path("d.json").read_text())] == ["a.png"]
    assert capsys.readouterr().err.endswith("stopped\n")


def test_outputs_are_opened_before_the_work_starts(
    model: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, *_: object, **__: object) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr(Detector, "_load", fail)
    for option in ("--json", "--jsonl", "--darknet-json"):
        assert cli.main(["detect", *model, "a.png", option, "missing/o.json"]) == 1
        assert capsys.readouterr().err == "darknet-py: missing/o.json: No such file or directory\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("option", ["--csv", "--json", "--jsonl"])
def test_a_full_disk_is_reported_with_the_file(
    model: tuple[str, str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["detect", *model, "a.png", "--quiet", option, "/dev/full"]) == 1
    assert capsys.readouterr().err.endswith("darknet-py: /dev/full: No space left on device\n")


def test_detector_test_reads_on_after_a_bad_line(
    mixed: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pathlib.Path("list").write_text("a.png\nmixed/bad.jpg\nmissing.png\nb.png\n")
    with pathlib.Path("list").open() as lines:
        monkeypatch.setattr(sys, "stdin", lines)
        assert cli.main(["detector", "test", "tiny.data", *mixed, "-out", "r.json", "-dont_show", "-i", "-1"]) == 1
    assert [frame["filename"] for frame in json.loads(pathlib.Path("r.json").read_text())] == ["a.png", "b.png"]
    streams = capsys.readouterr()
    assert streams.out.count("dog: 98%") == 2
    assert streams.err.splitlines()[1:] == [
        "darknet-py: missing.png: No such file or directory",
        "darknet-py: 2 images could not be read",
    ]


def test_recall_leaves_out_a_bad_image(mixed: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    pathlib.Path("valid.txt").write_text("a.png\nmixed/bad.jpg\nb.png\n")
    for name in ("a", "mixed/bad", "b"):
        pathlib.Path(f"{name}.txt").write_text("1 0.5 0.5 0.25 0.25\n")
    pathlib.Path("v.data").write_text("classes = 2\nnames = tiny.names\nvalid = valid.txt\n")
    assert cli.main(["detector", "recall", "v.data", *mixed, "-i", "-1"]) == 1
    streams = capsys.readouterr()
    lines = [line for line in (streams.out + streams.err).splitlines() if "Recall:" in line]
    assert [line.split()[:3] for line in lines] == [["0", "1", "1"], ["1", "2", "2"]]


def test_classify_and_its_accuracy_go_on(mixed: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    del mixed
    pathlib.Path("c.cfg").write_text("[net]\nwidth=8\nheight=8\nchannels=3\n[conv]\nfilters=2\n[avgpool]\n[softmax]\n")
    dk.save_weights(dk.load("c.cfg"), "c.weights")
    assert cli.main(["classify", "c.cfg", "c.weights", "mixed", "--json", "o.json"]) == 1
    assert len(json.loads(pathlib.Path("o.json").read_text())) == 3
    pathlib.Path("valid.txt").write_text("mixed/a.png\nmixed/bad.jpg\nmixed/c.png\n")
    pathlib.Path("labels").write_text("mixed\nnone\n")
    pathlib.Path("c.data").write_text("valid = valid.txt\nlabels = labels\n")
    capsys.readouterr()
    assert cli.main(["classify", "c.cfg", "c.weights", "--valid", "c.data", "--top", "2"]) == 1
    assert "top 2: 66.67 % of 3 images" in capsys.readouterr().out


def test_a_video_that_breaks_off_is_kept_and_the_next_one_is_read(
    model: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av", reason="videos are read with PyAV")
    from darknet_py.errors import DataError
    from darknet_py.video import capture

    tiny_videos.write_video(pathlib.Path("one.mp4"), 5)
    tiny_videos.write_video(pathlib.Path("two.mp4"), 3)
    pathlib.Path("text.mp4").write_text("a text")
    frames = capture.PyAVCapture.frames

    def breaking(self: capture.PyAVCapture) -> Iterator[capture.LazyFrame]:
        for number, frame in enumerate(frames(self)):
            if self._name == "one.mp4" and number == 2:
                raise DataError("one.mp4: broken")
            yield frame

    monkeypatch.setattr(capture.PyAVCapture, "frames", breaking)
    line = ["detect", *model, "one.mp4", "text.mp4", "two.mp4", "--save", "out", "--jsonl", "o.jsonl", "--quiet"]
    assert cli.main(line) == 1
    rows = [json.loads(text)["path"] for text in pathlib.Path("o.jsonl").read_text().splitlines()]
    assert rows == ["one.mp4"] * 2 + ["two.mp4"] * 3
    assert sorted(path.name for path in pathlib.Path("out").iterdir()) == ["one.mp4", "two.mp4"]
    assert "darknet-py: 2 files could not be read" in capsys.readouterr().err


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        kinds = {
            "/a.png": "image/png",
            "/bare.png": "image/png",
            "/photo": "image/png",
            "/page": "text/html",
            "/": "text/html",
            "/v": "video/mp2t",
        }
        if path == "/moved.png":
            self.send_response(302)
            self.send_header("Location", "/a.png")
            self.end_headers()
        elif path in kinds:
            self.send_response(200)
            if path != "/bare.png":
                self.send_header("Content-Type", kinds[path])
            self.end_headers()
            file = {"image/png": "a.png", "video/mp2t": "clip.ts"}.get(kinds[path])
            self.wfile.write(pathlib.Path(file).read_bytes() if file else b"<html>")
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing to stderr, which is tested."""


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["a.png", "a.png?size=1", "moved.png", "photo?id=3", "bare.png"])
def test_an_image_url_is_one_image(
    model: tuple[str, str], server: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["detect", *model, f"{server}/{name}", "--save", "out"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith(f"{server}/{name}: 60x40, 1 detection")
    assert [path.name for path in pathlib.Path("out").iterdir()] == [
        f"{name.partition('?')[0].removesuffix('.png')}.png"
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.png", "HTTP status 404 Not Found"),
        ("missing", "HTTP status 404 Not Found"),
        ("page", "expected an image, the server sends text/html"),
        ("", "expected an image, the server sends text/html"),
    ],
)
def test_a_url_that_is_no_image_is_an_error(
    model: tuple[str, str], server: str, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["detect", *model, f"{server}/{name}"]) == 1
    assert f"darknet-py: {server}/{name}: {message}\n" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_an_error(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["detect", *model, "http://127.0.0.1:9/a.png"]) == 1
    assert "http://127.0.0.1:9/a.png: no connection: " in capsys.readouterr().err


def test_a_malformed_url_is_an_error(model: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["detect", *model, "http://[::1/a.png", "--save", "out"]) == 1
    assert "darknet-py: http://[::1/a.png: " in capsys.readouterr().err


def test_a_video_url_stays_a_video(model: tuple[str, str], server: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av", reason="videos are read with PyAV")
    tiny_videos.transport_stream(pathlib.Path("clip.ts"), 5)
    line = ["detect", *model, f"{server}/v", "--max-frames", "2", "--reconnect", "0", "--every"]
    assert cli.main(line) == 0
    assert capsys.readouterr().out.count("1 detection") == 2


def test_a_working_directory_that_was_deleted_is_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert cli.main(["check", str(tmp_path / "a.cfg")]) == 1
    assert (
        capsys.readouterr().err == "darknet-py: the working directory does not exist any more: change to another one\n"
    )
