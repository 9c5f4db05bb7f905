"""``detect`` on videos: the options, which sources are videos, and the loop over frames."""

from __future__ import annotations

import argparse
import itertools
import pathlib
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..errors import DataError
from ..images.sources import expand_sources
from . import _output

if TYPE_CHECKING:
    from ..video.reader import ImageDetector, VideoReader


def options(parser: argparse.ArgumentParser) -> None:
    """Add what decides how videos are read."""
    group = parser.add_argument_group("videos and cameras")
    which = group.add_mutually_exclusive_group()
    which.add_argument("--every", action="store_true", help="look at every frame, even of what is live")
    which.add_argument("--latest", action="store_true", help="look at the newest frame (default for what is live)")
    group.add_argument("--stride", type=int, default=1, metavar="N", help="look at every Nth frame (1)")
    group.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    group.add_argument(
        "--reconnect", type=int, default=10, metavar="N", help="attempts to get a live source back; 0: none (10)"
    )


def apart(sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """Sources that are images, and those that are videos, where patterns give their files."""
    from ..video.capture import is_camera, is_url, is_video

    images, videos = [], []
    for source in sources:
        if not is_video(source):
            images.append(source)
        else:
            videos += [source] if is_camera(source) or is_url(source) else expand_sources([source])
    return images, videos


def refuse(args: argparse.Namespace) -> None:
    """Raise DataError for what is kept in memory to the end: a stream has none."""
    for name in ("json", "out", "save_txt"):
        if getattr(args, name):
            raise DataError(f"--{name.replace('_', '-')}: for images; the boxes of a video go to --jsonl FILE")
    if args.max_frames is not None and args.max_frames < 1:
        raise DataError(f"--max-frames: expected 1 or more, got {args.max_frames}")


def watch(
    detector: ImageDetector, videos: Sequence[str], lines: _output.Lines, args: argparse.Namespace, *, silent: bool
) -> int:
    """Look at each video to its end or to Ctrl-C, and return the exit status."""
    from ..video.reader import open_video

    taken: set[str] = set()
    for source in videos:
        latest = True if args.latest else False if args.every else None
        with open_video(source, latest=latest, stride=args.stride, reconnect=args.reconnect) as video:
            target = _target(args.save, source, taken)
            if _look(detector, video, target, lines, args, silent):
                print("darknet-py: stopped", file=sys.stderr)
                return 130
    return 0


def _look(
    detector: ImageDetector,
    video: VideoReader,
    target: pathlib.Path | None,
    lines: _output.Lines,
    args: argparse.Namespace,
    silent: bool,
) -> bool:
    """Look at one video; whether Ctrl-C ended it."""
    import numpy as np

    from ..signals import DeferredSignals
    from ..video.reader import detect_video
    from ..video.writer import VideoWriter

    with ExitStack() as stack:
        written = stack.enter_context(VideoWriter(target, video.fps)) if target else None
        stop = stack.enter_context(DeferredSignals(video.stop))
        some = itertools.islice(detect_video(detector, video), args.max_frames)
        total = min(args.max_frames or video.frame_count, -(-video.frame_count // args.stride))
        for frame, result in _output.progress(some, total, quiet=args.quiet, unit="frame"):
            result.path = video.name
            lines.add(result, index=frame.number, timestamp=round(frame.timestamp, 6))
            if written:
                written.write(np.asarray(result.plot()), frame.timestamp)
            if not silent:
                result.path = f"{video.name}#{frame.number} at {frame.timestamp:.3f} s"
                print(_output.rows(result), flush=True)
    if target and target.exists():
        print(f"video in {target}", file=sys.stderr)
    return stop.asked


def _target(folder: str | None, source: str, taken: set[str]) -> pathlib.Path | None:
    """Where the video with boxes goes: a name for each of this run."""
    if folder is None:
        return None
    name = pathlib.PurePosixPath(re.sub(r"^[a-z0-9.+-]+://|[?#].*$", "", source, flags=re.IGNORECASE)).stem
    stem = f"camera{source}" if source.isdecimal() else re.sub(r"[^\w.-]", "_", name) or "video"
    free = next(one for one in itertools.chain([stem], (f"{stem}_{i}" for i in itertools.count(2))) if one not in taken)
    taken.add(free)
    return pathlib.Path(folder) / f"{free}.mp4"
