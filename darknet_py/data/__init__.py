"""Data sets: image lists, label files and annotation formats, their checks, and anchors."""

from .dataset import Dataset, Sample
from .formats import load_dataset

__all__ = ["Dataset", "Sample", "load_dataset"]
