"""``detect --track``: track numbers, and counts at lines and in zones."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import DataError

if TYPE_CHECKING:
    from PIL import Image

    from ..counting import Counter
    from ..results.results import Results

_LOW_SCORE = 0.1  # boxes from here on keep a track alive
_FPS = 25.0  # of a list of images, which has no times


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of tracking and counting."""
    group = parser.add_argument_group("tracking")
    group.add_argument(
        "--track",
        action="store_true",
        help="number the objects of a video or of a sequence of images, in the order of their names (ByteTrack)",
    )
    group.add_argument(
        "--line",
        action="append",
        default=[],
        metavar="X1,Y1,X2,Y2",
        help="count tracked objects that cross a line, by class and direction; in pixels, or relative to the image if "
        "all are in 0..1; can be repeated",
    )
    group.add_argument(
        "--zone",
        action="append",
        default=[],
        metavar="X1,Y1,X2,Y2,X3,Y3,...",
        help="count tracked objects that enter and leave a polygon; can be repeated",
    )


def is_on(args: argparse.Namespace) -> bool:
    """Whether objects are tracked; counting needs it."""
    return bool(args.track or args.line or args.zone)


def check_options(args: argparse.Namespace, images: Sequence[str]) -> bool:
    """Return ``is_on``, after checking the lines and zones, and that there is something to track.

    Raises:
        DataError: a line or zone is not valid, or the source is a single image.
    """
    if is_on(args):
        create_counters(args)
        if len(images) == 1:
            raise DataError(f"--track: {images[0]} is a single image: expected a video, a stream or a folder of images")
    return is_on(args)


def detector_threshold(args: argparse.Namespace) -> float:
    """The score threshold of the detector, lower for tracking."""
    conf: float = args.conf
    return min(conf, _LOW_SCORE) if is_on(args) else conf


def create_counters(args: argparse.Namespace) -> list[Counter]:
    """Create the counters of ``--line`` and ``--zone``. Raises DataError."""
    from ..counting import LineCounter, ZoneCounter

    counters: list[Counter] = []
    for text in args.line:
        values = _numbers("--line", text)
        if len(values) != 4:
            raise DataError(f"--line: expected four numbers X1,Y1,X2,Y2, got {text!r}")
        counters.append(LineCounter(*values))
    for text in args.zone:
        values = _numbers("--zone", text)
        if len(values) < 6 or len(values) % 2:
            raise DataError(f"--zone: expected X,Y of three or more corners, got {text!r}")
        counters.append(ZoneCounter(list(zip(values[::2], values[1::2], strict=True))))
    return counters


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise DataError(f"{option}: expected numbers separated by commas, got {text!r}") from None


class Tracking:
    """Tracks and counts the objects of one source.

    Args:
        args: the options.
        fps: frames per second; of a list of images, where nothing is known, 25.
    """

    def __init__(self, args: argparse.Namespace, fps: float = _FPS) -> None:
        from ..tracking import Tracker

        self._tracker = Tracker(args.conf, fps=fps if fps > 0 else _FPS)
        self._counters = create_counters(args)

    def update(self, result: Results, timestamp: float | None = None) -> Results:
        """Return the results of the next frame with track numbers, and count."""
        tracked = self._tracker.update(result, timestamp)
        for counter in self._counters:
            counter.update(tracked)
        return tracked

    def counts(self) -> dict[str, Any]:
        """The counts so far, as an entry of JSON; empty without lines and zones."""
        return {"counts": [counter.to_dict() for counter in self._counters]} if self._counters else {}

    def draw(self, result: Results) -> Image.Image:
        """Draw the boxes, lines and zones."""
        from ..counting import draw_counters

        return draw_counters(result.plot(), self._counters)

    def print_counts(self) -> None:
        """Print a row for each line and zone."""
        kinds: dict[str, int] = {}
        for counter in self._counters:
            number = kinds[counter.kind] = kinds.get(counter.kind, 0) + 1
            print(f"{counter.kind} {number}: {counter}", flush=True)
