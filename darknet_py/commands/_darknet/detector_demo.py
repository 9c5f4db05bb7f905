"""Detect objects in videos: ``detector demo``, ``yolo demo`` and ``coco demo``."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ...files import check_outputs
from .. import _model, _output, _records, _video
from . import function, load_network, read_data
from .detector_test import VOC, coco_names

if TYPE_CHECKING:
    from ...data.class_names import ClassNames
    from ...network import Network

_FLAGS = (
    "-c -thresh -hier -letter_box -ext_output -out_filename -prefix -json_file_output -dontdraw_bbox -time_limit_sec "
    "-max_pixels"
)


@function("detector demo", "data cfg weights video?", _FLAGS)
def run_detector_demo(args: argparse.Namespace) -> int:
    """Detect objects in a video: detector demo DATA CFG WEIGHTS VIDEO -thresh 0.25 -out_filename FILE.avi.

    VIDEO is a file or a URL; without it camera ``-c`` is used. Prints Darknet's lines for each frame. No window is
    opened and nothing is served: see -out_filename, -prefix and -json_file_output. Ctrl-C stops after the current
    frame.
    """
    options = read_data(args)
    return show(args, load_network(args), options.get_path("names") if "names" in options.values else None)


@function("yolo demo", "cfg weights video?", _FLAGS, thresh=0.2)
def run_yolo_demo(args: argparse.Namespace) -> int:
    """Detect objects in a video with a network for VOC: yolo demo CFG WEIGHTS VIDEO -thresh 0.2."""
    network = load_network(args)
    return show(args, network, _model.matching_names(VOC, network))


@function("coco demo", "cfg weights video?", _FLAGS, thresh=0.2)
def run_coco_demo(args: argparse.Namespace) -> int:
    """Detect objects in a video with a network for COCO: coco demo CFG WEIGHTS VIDEO -thresh 0.2."""
    network = load_network(args)
    return show(args, network, _model.matching_names(coco_names(), network))


def show(args: argparse.Namespace, network: Network, names: ClassNames) -> int:
    """Detect objects in each frame and write the results."""
    import numpy as np

    from ...detector import Detector
    from ...signals import DeferredSignals
    from ...video.reader import detect_video, open_video
    from ...video.writer import VideoWriter

    letterbox = True if args.letter_box else None
    detector = Detector(network, names=names, threshold=args.thresh, hierarchy=args.hier, letterbox=letterbox)
    source = args.c if args.video is None else args.video
    print(f"video file: {source}" if args.video else f"Webcam index: {source}", flush=True)
    clear = b"\033[H\033[J" if sys.stdout.isatty() else b""
    deadline = time.monotonic() + args.time_limit_sec
    fps = _FrameRate()
    errors = _output.ErrorLog()
    with ExitStack() as stack:
        video = stack.enter_context(open_video(source, max_pixels=args.max_pixels))
        signals = stack.enter_context(DeferredSignals(video.stop))
        writer = stack.enter_context(VideoWriter(args.out_filename, video.fps)) if args.out_filename else None
        json_array = stack.enter_context(_records.JsonArray(args.json_file_output))
        for number, (frame, result) in enumerate(detect_video(detector, _video.report_end(video, errors)), start=1):
            if clear:
                sys.stdout.buffer.write(clear)
            lines = ["Objects:\n", *result.to_text(coordinates=args.ext_output).splitlines(), "", fps.update()]
            print("\n".join(lines), flush=True)
            if args.json_file_output:
                json_array.append(result.to_darknet_json(number))
            shown = result[:0] if args.dontdraw_bbox else result
            if args.prefix:
                frame_path = f"{args.prefix}_{number:08}.jpg"
                check_outputs([frame_path], [args.video])
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
