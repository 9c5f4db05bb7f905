"""Weights on disk: Darknet's .weights files and checkpoints."""

from .darknet_file import Header, StoredArray, count_filled_layers, load, read_header, save, stored

__all__ = ["Header", "StoredArray", "count_filled_layers", "load", "read_header", "save", "stored"]
