"""Weights on disk: Darknet's .weights files and checkpoints."""

from .darknet_file import Header, StoredArray, fits_upto, load, read_header, save, stored

__all__ = ["Header", "StoredArray", "fits_upto", "load", "read_header", "save", "stored"]
