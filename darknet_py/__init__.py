"""Darknet networks in PyTorch: cfg files run unmodified, .weights files load and save byte for byte."""

from .detect import Detector
from .loading import load
from .weights import load as load_weights
from .weights import save as save_weights

__version__ = "0.1.0"
__all__ = ["Detector", "load", "load_weights", "save_weights"]
