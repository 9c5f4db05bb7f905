"""Verbs in several processes that torchrun has started: each computes its share of the images, the main one writes."""

from __future__ import annotations

import argparse
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from ..errors import DarknetError, DataError
from . import _output

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..distributed import ProcessGroup
    from ..results.results import Results

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class _Stream(Protocol[R_co]):
    """``Detector.stream`` or ``Classifier.stream``."""

    def __call__(
        self, sources: Sequence[str], *, on_error: Callable[[DataError], object] | None = None
    ) -> Iterator[R_co]: ...


@contextmanager
def joined(args: argparse.Namespace) -> Iterator[ProcessGroup]:
    """Join torchrun's processes for the block: each uses its own GPU, and what all find wrong is reported once."""
    from ..devices import find_device
    from ..distributed import LONG_TIMEOUT, ProcessGroup

    group = ProcessGroup.init(timeout=LONG_TIMEOUT)
    try:
        if group.world_size > 1:
            args.device = str(group.device(find_device(args.device)))
        yield group
    except DarknetError as error:
        error.is_reported = not group.is_first(str(error))
        raise
    finally:
        group.destroy()


def compute(
    group: ProcessGroup,
    images: Sequence[str],
    stream: _Stream[R],
    convert: Callable[[R], T],
    *,
    batch: int,
    is_sequence: bool,
    quiet: bool = False,
) -> list[T | DataError]:
    """Compute the results of images, each batch in one of the processes.

    Args:
        group: the processes, which all call this.
        images: all images.
        stream: yields the results of images, and reports those that cannot be read in their places.
        convert: makes of a result what is sent to the main process.
        batch: images per batch.
        is_sequence: whether the images are frames of one sequence, which the main process computes alone.
        quiet: show no progress; otherwise the main process shows its own.

    Returns:
        In the main process, what was sent of each image, or the error of an image that cannot be read, in the order of
        the images; elsewhere an empty list.
    """
    own = group.indices(len(images), batch, is_sequence=is_sequence)
    outcomes: list[T | DataError] = []
    results = stream([images[index] for index in own], on_error=outcomes.append)
    for result in _output.progress_bar(results, len(own), quiet=quiet or not group.is_main):
        outcomes.append(convert(result))
    parts = group.gather(list(zip(own, outcomes, strict=True)))
    placed = (pair for part in parts for pair in part)
    return [outcome for _, outcome in sorted(placed, key=operator.itemgetter(0))]


def report_errors(outcomes: Iterable[T | DataError], errors: _output.ErrorLog) -> Iterator[T]:
    """Yield what ``compute`` returned, and report errors in their places."""
    from ..images.prefetch import drop_errors

    return drop_errors(outcomes, errors.add)


class PackedResults(NamedTuple):
    """The columns of ``Results`` without its image and names, as they are sent."""

    path: str
    shape: tuple[int, int]
    speed: dict[str, float]
    xywhn: npt.NDArray[np.float32]
    conf: npt.NDArray[np.float32]
    cls: npt.NDArray[np.int64]
    box: npt.NDArray[np.int64]

    def unpack(self, names: Sequence[str]) -> Results:
        """Return the results, without the image."""
        import torch

        from ..results.results import Results

        xywhn, conf, cls, box = map(torch.from_numpy, self[3:])
        return Results(xywhn, conf, cls, box, shape=self.shape, names=names, path=self.path, speed=self.speed)


def pack(result: Results) -> PackedResults:
    """Return the columns of results."""
    boxes = result.boxes.numpy()
    return PackedResults(result.path, result.orig_shape, result.speed, boxes.xywhn, boxes.conf, boxes.cls, boxes.box)
