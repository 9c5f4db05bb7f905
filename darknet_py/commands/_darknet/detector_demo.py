"""Detect objects in a video: ``detector demo DATA CFG WEIGHTS VIDEO -thresh 0.25 -out_filename FILE.avi``.

VIDEO is a file or a URL; without it camera ``-c`` is used. Prints Darknet's lines for each frame. No window is opened
and nothing is served: see -out_filename, -prefix and -json_file_output. Ctrl-C stops after the current frame."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from ...errors import DataError
from ...files import check_outputs
from .. import _output, _video
from . import HIERARCHY, IGNORED, add_arguments, load_network, read_data

_REFUSED = {
    "json_port": "not supported: use -json_file_output FILE, which writes the same objects",
    "mjpeg_port": "not supported: use -out_filename FILE or -prefix PREFIX, which write the frames",
    "http_post_host": "not supported: use -json_file_output FILE, which writes the same objects",
    "benchmark": "not supported: use darknet-py benchmark CFG WEIGHTS",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_arguments(parser)
    parser.add_argument("input", metavar="VIDEO", nargs="?", help="video file or URL (default: a camera)")
    parser.add_argument("-c", type=int, default=0, metavar="INDEX", help="camera number (default: 0)")
    parser.add_argument("-thresh", type=float, default=0.25, metavar="P", help="score threshold (default: 0.25)")
    parser.add_argument("-hier", type=float, default=0.5, metavar="P", help=HIERARCHY)
    parser.add_argument("-letter_box", action="store_true", help="keep the aspect ratio of frames")
    parser.add_argument("-ext_output", action="store_true", help="also print the coordinates of the boxes")
    parser.add_argument("-out_filename", metavar="FILE", help="write the video with boxes: .avi, .mp4, .mkv or .mov")
    parser.add_argument("-prefix", help="write the frames with boxes to PREFIX_00000001.jpg, ...")
    parser.add_argument("-json_file_output", metavar="FILE", help="write JSON, one object per frame")
    parser.add_argument("-dontdraw_bbox", action="store_true", help="write frames without boxes")
    parser.add_argument(
        "-time_limit_sec", type=int, default=0, metavar="N", help="stop after N seconds; 0: never (default: 0)"
    )
    parser.add_argument("-benchmark_layers", action="store_true", help="ignored: see darknet-py benchmark")
    parser.add_argument("-show", action="store_true", help=IGNORED)
    for name in ("-avgframes", "-s"):
        parser.add_argument(name, type=int, metavar="N", help=IGNORED)
    for name in ("-json_port", "-mjpeg_port", "-http_post_host"):
        parser.add_argument(name, metavar="X", help="refused: not supported")
    parser.add_argument("-benchmark", action="store_true", help="refused: see darknet-py benchmark")


def run(args: argparse.Namespace) -> int:
    """Detect objects in each frame and write the results."""
    import numpy as np

    from ...detector import Detector
    from ...signals import DeferredSignals
    from ...video.reader import detect_video, open_video
    from ...video.writer import VideoWriter

    for name, text in _REFUSED.items():
        if getattr(args, name):
            raise DataError(f"-{name}: {text}")
    options = read_data(args)
    names = options.get_path("names") if "names" in options.values else None
    letterbox = True if args.letter_box else None
    detector = Detector(
        load_network(args), names=names, threshold=args.thresh, hierarchy=args.hier, letterbox=letterbox
    )
    source = args.c if args.input is None else args.input
    print(f"video file: {source}" if args.input else f"Webcam index: {source}", flush=True)
    clear = "\033[H\033[J" if sys.stdout.isatty() else ""
    deadline = time.monotonic() + args.time_limit_sec
    fps = _FrameRate()
    errors = _output.ErrorLog()
    with ExitStack() as stack:
        video = stack.enter_context(open_video(source))
        signals = stack.enter_context(DeferredSignals(video.stop))
        writer = stack.enter_context(VideoWriter(args.out_filename, video.fps)) if args.out_filename else None
        json_array = stack.enter_context(_JsonArray(args.json_file_output)) if args.json_file_output else None
        for number, (frame, result) in enumerate(detect_video(detector, _video.report_end(video, errors)), start=1):
            lines = [f"{clear}Objects:\n", *result.to_text(coordinates=args.ext_output).splitlines(), "", fps.update()]
            print("\n".join(lines), flush=True)
            if json_array:
                json_array.append(result.to_darknet_json(number))
            shown = result[:0] if args.dontdraw_bbox else result
            if args.prefix:
                frame_path = f"{args.prefix}_{number:08}.jpg"
                check_outputs([frame_path], [args.input])
                shown.save(frame_path)
            if writer:
                writer.write(np.asarray(shown.plot()), frame.timestamp)
            if args.time_limit_sec and time.monotonic() > deadline:
                break
    print("input video stream closed. ")
    return 130 if signals.received else errors.status("video")


class _FrameRate:
    """Frames per second: an exponential moving average (0.9), and the mean over every three seconds, as in Darknet."""

    def __init__(self) -> None:
        self._last = self._start = time.perf_counter()
        self._average = 0.0
        self._mean = 0.0
        self._count = 0

    def update(self) -> str:
        """Count one frame, and return Darknet's line."""
        now = time.perf_counter()
        self._average = 0.9 * self._average + 0.1 / max(now - self._last, 1e-9)
        self._last = now
        self._count += 1
        if now - self._start >= 3:
            self._mean = self._count / (now - self._start)
            self._start = now
            self._count = 0
        return f"FPS:{self._average:.1f} \t AVG_FPS:{self._mean:.1f}"


class _JsonArray:
    """A file with a JSON array that is written element by element, and is valid after the block in any case."""

    def __init__(self, path: str) -> None:
        try:
            self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 (closed when the block ends)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error
        self._separator = "[\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._file:
            self._file.write("\n]\n" if self._separator == ", \n" else "[\n]\n")

    def append(self, content: dict[str, Any]) -> None:
        """Write one element."""
        self._file.write(self._separator + json.dumps(content, ensure_ascii=False, indent=1))
        self._file.flush()
        self._separator = ", \n"
