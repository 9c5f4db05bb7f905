"""Calls that mypy must accept: sequences of one kind of image."""

from __future__ import annotations

from collections.abc import Sequence

import darknet_py as dk


def detect_paths(
    detector: dk.Detector, names: list[str], pair: tuple[str, str], sequence: Sequence[str]
) -> list[dk.Results]:
    """A sequence of paths gives a list, a path gives one result."""
    one: dk.Results = detector(names[0])
    return [*detector(names), *detector(pair), *detector(sequence), one]


def classify_paths(classifier: dk.Classifier, sequence: Sequence[str]) -> list[str]:
    """The same for a classifier."""
    return [result.path for result in (*classifier(sequence), classifier(sequence[0]))]
