"""Detect objects in videos: ``detector demo``, ``yolo demo`` and ``coco demo``."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from ...errors import DataError
from ...files import check_outputs
from .. import _model, _output, _records, _video
from . import function, network_loader, note, read_data
from .detector_test import VOC, coco_names

if TYPE_CHECKING:
    from ...data.class_names import ClassNames
    from ...loading import NetworkLoader
    from ...results.results import Results
    from ...video.http_streams import JSONStreamServer, MJPEGServer

_FLAGS = (
    "-c -thresh -hier -letter_box -ext_output -out_filename -prefix -json_file_output -dontdraw_bbox -time_limit_sec "
    "-json_port -mjpeg_port -http_post_host -max_pixels"
)


@function("detector demo", "data cfg weights video?", _FLAGS)
def run_detector_demo(args: argparse.Namespace) -> int:
    """Detect objects in a video: detector demo DATA CFG WEIGHTS VIDEO -thresh 0.25 -out_filename FILE.avi.

    VIDEO is a file or a URL; without it camera ``-c`` is used. Prints Darknet's lines for each frame. No window is
    opened: see -out_filename, -prefix, -mjpeg_port and -json_file_output. Ctrl-C stops after the current frame.
    """
    options = read_data(args)
    return show(args, network_loader(args), options.get_path("names") if "names" in options.values else None)


@function("yolo demo", "cfg weights video?", _FLAGS, thresh=0.2)
def run_yolo_demo(args: argparse.Namespace) -> int:
    """Detect objects in a video with a network for VOC: yolo demo CFG WEIGHTS VIDEO -thresh 0.2."""
    loader = network_loader(args)
    return show(args, loader, _model.matching_names(VOC, loader.network))


@function("coco demo", "cfg weights video?", _FLAGS, thresh=0.2)
def run_coco_demo(args: argparse.Namespace) -> int:
    """Detect objects in a video with a network for COCO: coco demo CFG WEIGHTS VIDEO -thresh 0.2."""
    loader = network_loader(args)
    return show(args, loader, _model.matching_names(coco_names(), loader.network))


def show(args: argparse.Namespace, loader: NetworkLoader, names: ClassNames) -> int:
    """Detect objects in each frame and write the results."""
    import numpy as np

    from ...detector import Detector
    from ...signals import DeferredSignals
    from ...video.reader import detect_video, open_video
    from ...video.writer import VideoWriter

    letterbox = True if args.letter_box else None
    detector = Detector(loader, names=names, threshold=args.thresh, hierarchy=args.hier, letterbox=letterbox)
    source = args.c if args.video is None else args.video
    print(f"video file: {source}" if args.video else f"Webcam index: {source}", flush=True)
    clear = b"\033[H\033[J" if sys.stdout.isatty() else b""
    deadline = time.monotonic() + args.time_limit_sec
    fps = _FrameRate()
    errors = _output.ErrorLog()
    with ExitStack() as stack:
        video = stack.enter_context(open_video(source, max_pixels=args.max_pixels))
        servers = stack.enter_context(_Servers(args, str(source)))
        signals = stack.enter_context(DeferredSignals(video.stop))
        writer = stack.enter_context(VideoWriter(args.out_filename, video.fps)) if args.out_filename else None
        json_array = stack.enter_context(_records.DarknetJsonArray(args.json_file_output))
        for number, (frame, result) in enumerate(detect_video(detector, _video.report_end(video, errors)), start=1):
            if clear:
                sys.stdout.buffer.write(clear)
            lines = ["Objects:\n", *servers.send_detections(result, number)]
            lines += [*result.to_demo_text(args.ext_output).splitlines(), "", fps.update()]
            print("\n".join(lines), flush=True)
            if args.json_file_output:
                json_array.append(result.to_darknet_json(number))
            shown = result[:0] if args.dontdraw_bbox else result
            if args.prefix:
                frame_path = f"{args.prefix}_{number:08}.jpg"
                check_outputs([frame_path], [args.video])
                shown.save(frame_path)
            for text in servers.send_frame(shown):
                print(text, flush=True)
            if writer:
                writer.write(np.asarray(shown.plot()), frame.timestamp)
            if args.time_limit_sec and time.monotonic() > deadline:
                break
    print("input video stream closed. ")
    return 130 if signals.received else errors.status("video")


class _Servers:
    """What ``-json_port``, ``-mjpeg_port`` and ``-http_post_host`` send; a context manager."""

    def __init__(self, args: argparse.Namespace, source: str) -> None:
        self._args = args
        self._source = source
        self._opened = ExitStack()
        self._json: JSONStreamServer | None = None
        self._mjpeg: MJPEGServer | None = None
        self._host = args.http_post_host
        self._is_reachable = True

    def __enter__(self) -> Self:
        from ...video.http_streams import JSONStreamServer, MJPEGServer

        ports = {"-json_port": self._args.json_port or 0, "-mjpeg_port": self._args.mjpeg_port or 0}
        with ExitStack() as opened:
            if ports["-json_port"] > 0:  # others switch it off, as in Darknet
                self._json = opened.enter_context(JSONStreamServer(ports["-json_port"]))
            if ports["-mjpeg_port"] > 0:
                self._mjpeg = opened.enter_context(MJPEGServer(ports["-mjpeg_port"]))
            self._opened = opened.pop_all()
        for flag, port in ports.items():
            if port > 0:
                note(f"{flag}: whoever reaches port {port} of this machine gets the stream, as with Darknet")
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.close()

    def send_detections(self, result: Results, number: int) -> list[str]:
        """Send the detections of a frame, and return Darknet's lines about it."""
        lines = []
        if self._json:
            self._json.send(result.to_darknet_json(number))
            lines.append(" JSON-stream sent. ")
        if self._host:
            self._post(result)
        return lines

    def _post(self, result: Results) -> None:
        """POST the objects; with ``-time_limit_sec`` those of the first frame that has any, as in Darknet."""
        from ...video.http_streams import objects_message, post_objects

        message = objects_message(result, self._source)
        if not message:
            return
        try:
            post_objects(self._host, message)
        except DataError as error:
            if self._is_reachable:
                note(f"-http_post_host: {error}")
            self._is_reachable = False
        if self._args.time_limit_sec > 0:
            self._host = None

    def send_frame(self, shown: Results) -> list[str]:
        """Send a frame with its boxes, and return Darknet's line about it."""
        if not self._mjpeg:
            return []
        self._mjpeg.send(shown.plot())
        return [" MJPEG-stream sent. "]


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
