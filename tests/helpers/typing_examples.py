"""Calls that mypy must accept: lists and tuples of one kind of image."""

from __future__ import annotations

import darknet_py as dk


def detect_paths(detector: dk.Detector, names: list[str], pair: tuple[str, str]) -> list[dk.Results]:
    """A list of paths and a tuple of paths give lists, a path gives one result."""
    one: dk.Results = detector(names[0])
    return [*detector(names), *detector(pair), one]
