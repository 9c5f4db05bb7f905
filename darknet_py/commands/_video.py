"""``detect`` on videos: options, recognition of video sources, and the loop over frames."""

from __future__ import annotations

import argparse
import itertools
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..errors import DataError
from ..files import check_outputs
from ..images.sources import expand_sources, unique_stem
from . import _output, _records, _tracking

if TYPE_CHECKING:
    from ..video.reader import Frame, ImageDetector, VideoReader


_PLAYLISTS = (".m3u8", ".mpd")  # of HTTP streams


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of how videos are read."""
    group = parser.add_argument_group("videos and cameras")
    exclusive = group.add_mutually_exclusive_group()
    exclusive.add_argument("--every", action="store_true", help="process every frame (default for files)")
    exclusive.add_argument(
        "--latest",
        action="store_true",
        help="process the newest frame and drop older ones (default for live sources)",
    )
    group.add_argument("--stride", type=int, default=1, metavar="N", help="process every Nth frame (default: 1)")
    group.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    group.add_argument(
        "--reconnect",
        type=int,
        default=10,
        metavar="N",
        help="attempts to reconnect to a live source; 0: none (default: 10)",
    )


def split_videos(sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split sources into images and videos; glob patterns of videos are expanded.

    An HTTP URL without the suffix of an image or a video is what the server says it is.
    """
    from ..images.urls import content_type, is_http, local_path, url_suffix
    from ..text_files import IMAGE_SUFFIXES
    from ..video.capture import VIDEO_SUFFIXES, is_camera, is_url, is_video

    def is_image_url(source: str) -> bool:
        suffix = url_suffix(source)
        if suffix in (*VIDEO_SUFFIXES, *_PLAYLISTS):
            return False
        return suffix in IMAGE_SUFFIXES or content_type(source).startswith(("image/", "text/"))

    images: list[str] = []
    videos: list[str] = []
    for source in map(local_path, sources):
        if not is_video(source) or (is_http(source) and is_image_url(source)):
            images.append(source)
        else:
            videos += [source] if is_camera(source) or is_url(source) else expand_sources([source])
    return images, videos


def check_options(args: argparse.Namespace) -> None:
    """Raise DataError for outputs that are kept in memory to the end, as a stream may have no end."""
    for name in ("json", "darknet_json", "save_txt", "save_crop"):
        if getattr(args, name):
            raise DataError(f"--{name.replace('_', '-')}: for images only; use --jsonl FILE or --csv FILE for videos")
    for name, minimum in (("max_frames", 1), ("stride", 1), ("reconnect", 0)):
        value = getattr(args, name)
        if value is not None and value < minimum:
            raise DataError(f"--{name.replace('_', '-')}: expected {minimum} or more, got {value}")


def detect(
    detector: ImageDetector,
    videos: Sequence[str],
    lines: _records.JsonLines,
    rows: _records.CsvRows,
    args: argparse.Namespace,
    errors: _output.ErrorLog,
    *,
    is_silent: bool,
) -> bool:
    """Run a detector on each video to its end, or to Ctrl-C. A video that breaks off is kept up to that frame.

    Returns:
        Whether Ctrl-C stopped it.
    """
    from ..video.reader import open_video

    stems: set[str] = set()
    for source in videos:
        latest = True if args.latest else False if args.every else None
        try:
            video = open_video(
                source, latest=latest, stride=args.stride, reconnect=args.reconnect, max_pixels=args.max_pixels
            )
        except DataError as error:
            errors.add(error)
            continue
        with video:
            target = _output_path(args.save, source, stems)
            check_outputs([target], videos)
            if _detect_one(detector, video, target, lines, rows, args, errors, is_silent):
                print("darknet-py: stopped", file=sys.stderr)
                return True
    return False


def _detect_one(
    detector: ImageDetector,
    video: VideoReader,
    target: pathlib.Path | None,
    lines: _records.JsonLines,
    rows: _records.CsvRows,
    args: argparse.Namespace,
    errors: _output.ErrorLog,
    is_silent: bool,
) -> bool:
    """Run a detector on one video, and return whether Ctrl-C stopped it."""
    import numpy as np

    from ..signals import DeferredSignals
    from ..video.reader import detect_video
    from ..video.writer import VideoWriter

    tracking = _tracking.Tracking(args, fps=float(video.fps)) if _tracking.is_on(args) else None
    with ExitStack() as stack:
        writer = stack.enter_context(VideoWriter(target, video.fps)) if target else None
        signals = stack.enter_context(DeferredSignals(video.stop))
        frames = itertools.islice(detect_video(detector, report_end(video, errors)), args.max_frames)
        total = min(args.max_frames or video.frame_count, -(-video.frame_count // args.stride))
        for frame, result in _output.progress_bar(frames, total, quiet=args.quiet, unit="frame"):
            result = tracking.update(result, frame.timestamp) if tracking else result
            result = result.clip() if args.clip else result
            result.path = video.name
            place = {"index": frame.number, "timestamp": round(frame.timestamp, 6)}
            lines.write(result.to_dict(**place, **(tracking.counts() if tracking else {})))
            rows.write(result, **place)
            if writer:
                image = tracking.draw(result) if tracking else result.plot()
                writer.write(np.asarray(image), frame.timestamp)
            if not is_silent:
                result.path = f"{video.name}#{frame.number} at {frame.timestamp:.3f} s"
                print(_output.format_result(result), flush=True)
    if tracking and not is_silent:
        tracking.print_counts()
    if target and target.exists():
        print(f"video in {target}", file=sys.stderr)
    return signals.received


def report_end(frames: Iterable[Frame], errors: _output.ErrorLog) -> Iterator[Frame]:
    """Yield the frames of a video; the error of a video that breaks off is reported and ends it."""
    try:
        yield from frames
    except DataError as error:
        errors.add(error)


def _output_path(folder: str | None, source: str, stems: set[str]) -> pathlib.Path | None:
    """Path of the video with boxes, unique in this run; None without a folder."""
    if folder is None:
        return None
    name = pathlib.PurePosixPath(re.sub(r"^[a-z0-9.+-]+://|[?#].*$", "", source, flags=re.IGNORECASE)).stem
    stem = f"camera{source}" if source.isdecimal() else re.sub(r"[^\w.-]", "_", name) or "video"
    return pathlib.Path(folder) / f"{unique_stem(stem, stems)}.mp4"
