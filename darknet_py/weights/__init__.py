"""Weights on disk: Darknet's ``.weights`` files, checkpoints, and the files a model name stands for."""

from .darknet_file import Header, Stored, fits_upto, load, read_header, save, stored

__all__ = ["Header", "Stored", "fits_upto", "load", "read_header", "save", "stored"]
