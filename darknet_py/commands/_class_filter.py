"""``--classes``: report only some classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import DataError, did_you_mean

if TYPE_CHECKING:
    from ..images.reading import ImageSource
    from ..results.results import Results
    from ..video.reader import ImageDetector


class ClassFilter:
    """A detector that drops the detections of all but some classes. NMS is per class, so the others do not change.

    Args:
        detector: the detector to filter.
        classes: numbers of the classes to keep.
    """

    def __init__(self, detector: ImageDetector, classes: Iterable[int]) -> None:
        self.detector = detector
        self.classes = frozenset(classes)

    def stream(
        self,
        sources: Iterable[ImageSource],
        *,
        workers: int | None = None,
        on_error: Callable[[DataError], object] | None = None,
    ) -> Iterator[Results]:
        """Yield the results of each image; see ``Detector.stream``."""
        for result in self.detector.stream(sources, workers=workers, on_error=on_error):
            yield result[[row for row, cls in enumerate(result.boxes.cls.tolist()) if cls in self.classes]]


def class_numbers(classes: Iterable[str], names: Sequence[str] | Mapping[int, str]) -> list[int]:
    """Return the numbers of classes given by name or number.

    Args:
        classes: names or numbers, as on the command line.
        names: the names of all classes, by number.

    Raises:
        DataError: there is no such class.
    """
    by_name = {name: number for number, name in (names.items() if isinstance(names, Mapping) else enumerate(names))}
    numbers = []
    for text in classes:
        if text in by_name:
            numbers.append(by_name[text])
        elif text.isdecimal() and int(text) < len(by_name):
            numbers.append(int(text))
        else:
            hint = did_you_mean(text, by_name)
            raise DataError(f"--classes: expected class names or numbers in 0..{len(names) - 1}, got {text!r}{hint}")
    return numbers
