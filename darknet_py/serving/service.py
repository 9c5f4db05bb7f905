"""``DetectionService``: a detector behind a batcher, with metrics. It knows nothing of a web framework."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import pathlib
from concurrent.futures import Future
from typing import Any

import numpy as np

from .._typing import StrPath
from .._version import __version__
from ..detector import Detector
from ..errors import DataError
from ..images.reading import ImageSource
from ..results.results import Results
from ..video.reader import Frame, open_video
from . import detection
from .batcher import Batcher
from .limits import Limits
from .metrics import Metrics
from .queries import DetectOptions
from .video_feed import VideoFeed

_CACHED_OPTIONS = 128  # of requests: detectors with them, which share a network


class DetectionService:
    """A detector that many threads use at once.

    Args:
        detector: the detector; its engine is built, and computes one grey image.
        limits: what is accepted.
        weights: file of the weights, whose SHA-256 ``describe`` states.
        source: a video that is detected, too, see ``video.reader.open_video``; None: none.

    Attributes:
        feed: the video; None: none.
        metrics: what is counted.

    Raises:
        DarknetError: the engine does not run, a file cannot be read, or the video not be opened.
    """

    def __init__(
        self, detector: Detector, limits: Limits, weights: StrPath | None = None, source: StrPath | int | None = None
    ) -> None:
        self.detector = detector
        self.limits = limits
        self.is_draining = False
        self._sha256 = None if weights is None else _sha256(weights)
        width, height = detector.size
        grey = np.full((height, width, detector.architecture.shape.channels), 128, np.uint8)
        detection.detect([detection.NetworkInput(detector.preprocess([grey]), (height, width), detector)])
        self.metrics = Metrics(lambda: self._batcher.waiting)
        self._batcher: Batcher[detection.DetectionRequest, detection.NetworkInput, Results] = Batcher(
            detection.prepare,
            detection.detect,
            max_batch=limits.max_batch,
            max_wait=limits.max_wait,
            queue=limits.queue,
            workers=limits.workers,
            on_batch=self.metrics.count_batch,
        )
        self.feed = None if source is None else self._create_feed(source)
        self._apply = functools.lru_cache(_CACHED_OPTIONS)(lambda options: options.apply(detector))

    def _create_feed(self, source: StrPath | int) -> VideoFeed:
        if self.detector.architecture.stateful:
            raise DataError(
                "source: expected a network without recurrent layers, whose state other images would change; "
                "darknet-py detect --jsonl runs it on a video"
            )
        max_pixels = self.detector.read_image.keywords["max_pixels"]
        return VideoFeed(
            functools.partial(open_video, source, max_pixels=max_pixels), self._detect_frame, self.limits.max_streams
        )

    def _detect_frame(self, frame: Frame) -> Results:
        return self.submit(frame.image, self.detector).result()

    @property
    def is_full(self) -> bool:
        """Whether the next image would be refused."""
        return self._batcher.is_full

    @property
    def is_idle(self) -> bool:
        """Whether no image waits or is computed."""
        return self._batcher.is_idle

    def detector_for(self, options: DetectOptions) -> Detector:
        """Return the detector with the options of a request. Raises DataError."""
        detector: Detector = self._apply(dataclasses.replace(options, clip=False))
        return detector

    def submit(self, image: ImageSource, detector: Detector, timeout: float = math.inf) -> Future[Results]:
        """Accept an image, see ``Batcher.submit``. The result has no image.

        Raises:
            QueueFullError, DrainingError: see ``Batcher.submit``.
        """
        return self._batcher.submit(detection.DetectionRequest(image, detector), timeout)

    def drain(self, timeout: float = math.inf) -> None:
        """Refuse further images, and end the video; accepted images are computed, in ``timeout`` seconds, or fail."""
        self.is_draining = True
        if self.feed is not None:
            self.feed.end()  # before its frames are refused, which would be logged
        self._batcher.drain(timeout)

    def close(self) -> None:
        """Refuse further images, and wait for those that were accepted."""
        self.drain()
        self._batcher.close()
        if self.feed is not None:
            self.feed.close()

    def describe(self) -> dict[str, Any]:
        """Return what is served, as plain values: cfg, classes, size, weights, engine, defaults and limits."""
        detector, network = self.detector, self.detector.architecture
        parameter = next(network.parameters(), None)
        return {
            "cfg": pathlib.PurePath(network.config.path or "").name,
            "width": network.shape.width,
            "height": network.shape.height,
            "channels": network.shape.channels,
            "classes": list(detector.names),
            "weights": {
                "sha256": self._sha256,
                "version": ".".join(map(str, network.version)),
                "seen": network.seen,
                "parameters": sum(each.numel() for each in network.parameters()),
            },
            "engine": detector.engine if isinstance(detector.engine, str) else type(detector.engine).__name__,
            "dtype": detector.dtype,
            "device": "cpu" if parameter is None else str(parameter.device),
            "stream": self.feed is not None,
            "exif": detector.read_image.keywords["exif"],
            "defaults": {"conf": detector.threshold, "nms": detector.nms, "max_det": detector.max_detections},
            "limits": {
                "max_body": self.limits.max_body,
                "max_pixels": detector.read_image.keywords["max_pixels"],
                "max_batch": self.limits.max_batch,
                "queue": self.limits.queue,
                "timeout": self.limits.timeout,
            },
            "darknet_py": __version__,
        }


def _sha256(path: StrPath) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
