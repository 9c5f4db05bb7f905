"""Weights on disk: Darknet's .weights files and checkpoints."""

from .darknet_file import Header, StoredArray, count_filled_layers, load, read_header, save, stored
from .diagnostics import count_non_finite, random_layers, require_finite, warn_of_random_weights

__all__ = [
    "Header",
    "StoredArray",
    "count_filled_layers",
    "count_non_finite",
    "load",
    "random_layers",
    "read_header",
    "require_finite",
    "save",
    "stored",
    "warn_of_random_weights",
]
