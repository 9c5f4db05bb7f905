"""``Tracker``: number the objects of a video, so that one object has the same number in all frames.

ByteTrack (https://arxiv.org/abs/2110.06864) as the package ``trackers`` has it: boxes are matched to the predicted
positions of the tracks, those of high confidence first, then the others, which keep a track alive but start none.
"""

from __future__ import annotations

from typing import Any

import torch

from .errors import DarknetError
from .results.results import Results

_NOMINAL_RATE = 30  # frames per second that ``lost_track_buffer`` of the package counts in


class Tracker:
    """Adds track numbers to the results of consecutive frames.

    Boxes of all classes are tracked together. A detector with a low threshold, such as 0.1, keeps tracks alive while
    objects are hard to see.

    Args:
        threshold: Confidence from which a box starts a track; boxes below it continue one, or are dropped.
        fps: Frames per second, where ``update`` gets no timestamps.
        lost_seconds: Time for which an object that is not detected keeps its number.
        match_iou: IoU of a box with the predicted position from which it can belong to a track.

    Raises:
        DarknetError: The package ``trackers`` is not installed, or an argument is out of range.
    """

    def __init__(
        self,
        threshold: float = 0.25,
        *,
        fps: float = 25.0,
        lost_seconds: float = 1.0,
        match_iou: float = 0.1,
    ) -> None:
        if not fps > 0:
            raise DarknetError(f"fps: expected more than 0, got {fps}")
        if not 0 <= lost_seconds < float("inf"):
            raise DarknetError(f"lost_seconds: expected 0 or more, got {lost_seconds}")
        try:
            import trackers
        except ImportError as error:
            raise DarknetError("tracking needs a package: pip install 'darknet-torch[track]'") from error
        self.threshold = threshold
        self.fps = fps
        self._tracker: Any = trackers.ByteTrackTracker(
            lost_track_buffer=round(lost_seconds * _NOMINAL_RATE),
            frame_rate=fps,
            track_activation_threshold=threshold,
            high_conf_det_threshold=threshold,
            minimum_iou_threshold=match_iou,
        )
        self._timestamp: float | None = None  # of the last frame

    def update(self, result: Results, timestamp: float | None = None) -> Results:
        """Return the results of the next frame with ``boxes.id``.

        A track is numbered in its second frame; before, and for a box that starts none, the number is -1. Numbers count
        from 0. All rows of one box, which differ in class only, have the same number; those of other classes than its
        best need the threshold.

        Args:
            result: The detections.
            timestamp: Time of the frame in seconds, for frames at unequal distances. Give it for all frames or none.
        """
        import supervision

        boxes = result.boxes.numpy()
        firsts = [rows[0] for rows in result.boxes.by_box()]  # the best class of each box
        detections = supervision.Detections(
            xyxy=boxes.xyxy[firsts].reshape(-1, 4),
            confidence=boxes.conf[firsts],
            data={"box": boxes.box[firsts]},
        )
        tracked = self._tracker.update(detections, timestamp=self._advance(timestamp))
        found = tracked.data.get("box", ())  # in another order
        numbers = {int(box): int(number) for box, number in zip(found, tracked.tracker_id, strict=True)}
        ids = [numbers.get(box, -1) for box in boxes.box.tolist()]
        continued = {first for first in firsts if ids[first] >= 0}
        rows = [i for i in range(len(ids)) if i in continued or boxes.conf[i] >= self.threshold]
        return result.with_tracks(rows, torch.tensor([ids[i] for i in rows], dtype=torch.int64))

    def reset(self) -> None:
        """Forget all tracks, before another video; numbers start at 0 again."""
        self._tracker.reset()
        self._timestamp = None

    def _advance(self, timestamp: float | None) -> float | None:
        """The timestamp; where it does not increase, as in damaged videos, that of the last frame plus a frame."""
        if timestamp is not None:
            if self._timestamp is not None and not timestamp > self._timestamp:
                timestamp = self._timestamp + 1 / self.fps
            self._timestamp = timestamp
        return timestamp
