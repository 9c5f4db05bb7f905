"""Darknet networks in PyTorch: cfg files run unmodified, .weights files load and save byte for byte.

Nothing happens on import, and torch is imported with the first name that needs it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .convert import convert
    from .detect import Detector
    from .errors import ConfigError, DarknetError, DataError, UnusedOptionWarning, WeightsError
    from .export import export
    from .layers import Layer, Shape, section
    from .loading import load, save
    from .network import Network
    from .opencv import DetectionModel
    from .results import Results
    from .rows import Boxes
    from .trainer import Trainer
    from .weights import load as load_weights
    from .weights import save as save_weights

__version__ = "0.1.0"

_HOMES = {
    "Boxes": "rows",
    "ConfigError": "errors",
    "DarknetError": "errors",
    "DataError": "errors",
    "DetectionModel": "opencv",
    "Detector": "detect",
    "Layer": "layers",
    "Network": "network",
    "Results": "results",
    "Shape": "layers",
    "Trainer": "trainer",
    "UnusedOptionWarning": "errors",
    "WeightsError": "errors",
    "convert": "convert",
    "export": "export",
    "load": "loading",
    "load_weights": "weights:load",
    "save": "loading",
    "save_weights": "weights:save",
    "section": "layers",
}

__all__ = [
    "Boxes",
    "ConfigError",
    "DarknetError",
    "DataError",
    "DetectionModel",
    "Detector",
    "Layer",
    "Network",
    "Results",
    "Shape",
    "Trainer",
    "UnusedOptionWarning",
    "WeightsError",
    "__version__",
    "convert",
    "export",
    "load",
    "load_weights",
    "save",
    "save_weights",
    "section",
]


def __getattr__(name: str) -> Any:
    """Import a public name with its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, other = _HOMES[name].partition(":")
    value = getattr(import_module(f"{__name__}.{module}"), other or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Importing ``darknet_py.convert`` leaves ``darknet_py.convert`` the function that is called so."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
