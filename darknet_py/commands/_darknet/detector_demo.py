"""Find objects in a video: ``detector demo DATA CFG WEIGHTS VIDEO -thresh 0.25 -out_filename found.avi``.

VIDEO is a file or an address; without it camera ``-c`` is watched. Darknet's lines are printed for each frame. No
window is opened and nothing is served: see -out_filename, -prefix and -json_file_output. Ctrl-C ends it well."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from ...errors import DataError
from . import files, load, settings

_OF_A_WINDOW = "accepted; of the window, and none is opened"
_REFUSED = {
    "json_port": "nothing is served here: -json_file_output FILE writes the same objects",
    "mjpeg_port": "nothing is served here: -out_filename FILE and -prefix PREFIX write the frames",
    "http_post_host": "nothing is sent from here: -json_file_output FILE writes what is found",
    "benchmark": "darknet-py benchmark CFG WEIGHTS measures how fast a network is",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    files(parser)
    parser.add_argument("input", metavar="VIDEO", nargs="?")
    parser.add_argument("-c", type=int, default=0, metavar="INDEX", help="camera to watch where there is no VIDEO (0)")
    parser.add_argument("-thresh", type=float, default=0.25, help="lowest probability of a class (0.25)")
    parser.add_argument("-hier", type=float, default=0.5, help="how sure a class of a tree must be (0.5)")
    parser.add_argument("-letter_box", action="store_true", help="keep the frames' aspect")
    parser.add_argument("-ext_output", action="store_true", help="print coordinates as well")
    parser.add_argument("-out_filename", metavar="FILE", help="write the video with boxes: .avi, .mp4, .mkv or .mov")
    parser.add_argument("-prefix", help="write the frames with boxes as PREFIX_00000001.jpg and so on")
    parser.add_argument("-json_file_output", metavar="FILE", help="write JSON, an object a frame")
    parser.add_argument("-dontdraw_bbox", action="store_true", help="write frames without boxes")
    parser.add_argument("-time_limit_sec", type=int, default=0, metavar="N", help="stop after N seconds; 0: never (0)")
    parser.add_argument("-benchmark_layers", action="store_true", help="accepted; see darknet-py benchmark")
    parser.add_argument("-show", action="store_true", help=_OF_A_WINDOW)
    for name in ("-avgframes", "-s"):
        parser.add_argument(name, type=int, metavar="N", help=_OF_A_WINDOW)
    for name in ("-json_port", "-mjpeg_port", "-http_post_host"):
        parser.add_argument(name, metavar="X", help="refused: nothing is served")
    parser.add_argument("-benchmark", action="store_true", help="refused: see darknet-py benchmark")


def run(args: argparse.Namespace) -> int:
    """Detect, print and write."""
    import numpy as np

    from ...detector import Detector
    from ...signals import DeferredSignals
    from ...video.reader import detect_video, open_video
    from ...video.writer import VideoWriter

    for name, text in _REFUSED.items():
        if getattr(args, name):
            raise DataError(f"-{name}: {text}")
    options = settings(args)
    names = options.file("names") if "names" in options.values else None
    letterbox = True if args.letter_box else None
    detector = Detector(load(args), names=names, threshold=args.thresh, hierarchy=args.hier, letterbox=letterbox)
    source = args.c if args.input is None else args.input
    print(f"video file: {source}" if args.input else f"Webcam index: {source}", flush=True)
    clear = "\033[H\033[J" if sys.stdout.isatty() else ""
    ends, speed = time.monotonic() + args.time_limit_sec, _Speed()
    with ExitStack() as stack:
        video = stack.enter_context(open_video(source))
        stop = stack.enter_context(DeferredSignals(video.stop))
        written = stack.enter_context(VideoWriter(args.out_filename, video.fps)) if args.out_filename else None
        listing = stack.enter_context(_Listing(args.json_file_output)) if args.json_file_output else None
        for number, (frame, result) in enumerate(detect_video(detector, video), start=1):
            lines = [f"{clear}Objects:\n", *result.to_text(coordinates=args.ext_output).splitlines(), "", speed.line()]
            print("\n".join(lines), flush=True)
            if listing:
                listing.add(result.to_darknet_json(number))
            shown = result[:0] if args.dontdraw_bbox else result
            if args.prefix:
                shown.save(f"{args.prefix}_{number:08}.jpg")
            if written:
                written.write(np.asarray(shown.plot()), frame.timestamp)
            if args.time_limit_sec and time.monotonic() > ends:
                break
    print("input video stream closed. ")
    return 130 if stop.asked else 0


class _Speed:
    """Frames a second as Darknet smooths them, and their mean over each three seconds."""

    def __init__(self) -> None:
        self._before = self._began = time.perf_counter()
        self._smooth = self._mean = 0.0
        self._count = 0

    def line(self) -> str:
        """Darknet's line, a frame being done."""
        now = time.perf_counter()
        self._smooth = 0.9 * self._smooth + 0.1 / max(now - self._before, 1e-9)
        self._before, self._count = now, self._count + 1
        if now - self._began >= 3:
            self._mean, self._began, self._count = self._count / (now - self._began), now, 0
        return f"FPS:{self._smooth:.1f} \t AVG_FPS:{self._mean:.1f}"


class _Listing:
    """A JSON array that grows in its place, and is whole when the block ends, however it does."""

    def __init__(self, path: str) -> None:
        try:
            self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 (closed when the block ends)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error
        self._before = "[\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._file:
            self._file.write("\n]\n" if self._before == ", \n" else "[\n]\n")

    def add(self, content: dict[str, Any]) -> None:
        """Write an element."""
        self._file.write(self._before + json.dumps(content, ensure_ascii=False, indent=1))
        self._file.flush()
        self._before = ", \n"
