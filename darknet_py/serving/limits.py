"""``Limits``: what one server accepts, in a module without imports of torch, for the help of the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..errors import DataError


@dataclass(frozen=True)
class Limits:
    """What a server accepts.

    Attributes:
        max_batch: images per forward pass.
        max_wait: seconds that a batch waits for requests that are on their way.
        queue: requests that are decoded or wait for the network; further ones are refused.
        workers: threads that decode and resize images.
        timeout: seconds from a request's last byte to its answer.
        max_body: bytes of a request's body.
        body_timeout: seconds for a request's header, and for its body.
        max_connections: open connections.
        max_streams: of these, connections that receive a video.
    """

    max_batch: int = 8
    max_wait: float = 0.005
    queue: int = 64
    workers: int = 2
    timeout: float = 30.0
    max_body: int = 16 * 2**20
    body_timeout: float = 10.0
    max_connections: int = 256
    max_streams: int = 16

    def __post_init__(self) -> None:
        for field in fields(self):
            value, lowest = getattr(self, field.name), 0 if field.name in ("max_wait", "max_streams") else 1
            is_positive = value > 0 if field.name.endswith("timeout") else value >= lowest
            if not is_positive or not math.isfinite(value):
                expected = "more than 0" if field.name.endswith("timeout") else f"{lowest} or more"
                raise DataError(f"{field.name}: expected {expected}, got {value}")
