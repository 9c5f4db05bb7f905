"""Query strings become options, which have the names of the command line: ``conf=0.4&classes=person,dog``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..detector import Detector
from ..errors import DataError, did_you_mean, shorten


@dataclass(frozen=True)
class DetectOptions:
    """The options of one request; None: those of the server.

    Attributes:
        conf: score threshold, 0..1.
        nms: IoU threshold of NMS, 0..1.
        classes: report these classes only, by name or number.
        skip_classes: do not report these classes.
        max_det: most boxes; 0: all.
        clip: clip boxes to the image.
    """

    conf: float | None = None
    nms: float | None = None
    classes: tuple[str, ...] | None = None
    skip_classes: tuple[str, ...] = ()
    max_det: int | None = None
    clip: bool = False

    def apply(self, detector: Detector) -> Detector:
        """Return the detector with these options, itself if there are none. Raises DataError."""
        if (self.conf, self.nms, self.classes, self.skip_classes, self.max_det) == (None, None, None, (), None):
            return detector
        return detector.with_options(
            threshold=self.conf,
            nms=self.nms,
            classes=self.classes,
            skip_classes=self.skip_classes,
            max_detections=self.max_det,
        )


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _flag(text: str) -> bool:
    return {"": True, "1": True, "true": True, "0": False, "false": False}[text.lower()]


_KINDS: dict[str, tuple[Callable[[str], Any], str]] = {
    "conf": (_fraction, "a number in 0..1"),
    "nms": (_fraction, "a number in 0..1"),
    "classes": (str, ""),
    "skip_classes": (str, ""),
    "max_det": (_count, "an integer of 0 or more"),
    "clip": (_flag, "0 or 1"),
}


def parse_query(pairs: Iterable[tuple[str, str]]) -> DetectOptions:
    """Parse the pairs of a query string. Dashes and underscores in names are one. Raises DataError."""
    values: dict[str, Any] = {}
    for given, text in pairs:
        name = given.replace("-", "_")
        if name not in _KINDS:
            raise DataError(f"query: expected {', '.join(_KINDS)}, found {shorten(given)}{did_you_mean(name, _KINDS)}")
        if name in ("classes", "skip_classes"):
            words = tuple(word for word in text.split(",") if word)
            if not words:
                raise DataError(f"query: {name}: expected names or numbers of classes, found none")
            values[name] = values.get(name, ()) + words
            continue
        if name in values:
            raise DataError(f"query: {name} is given twice")
        convert, expected = _KINDS[name]
        try:
            values[name] = convert(text)
        except (ValueError, KeyError):
            raise DataError(f"query: {name}: expected {expected}, found {shorten(text)}") from None
    return DetectOptions(**values)
