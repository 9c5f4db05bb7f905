"""Darknet networks in PyTorch: cfg files run unmodified, .weights files load and save byte for byte.

Nothing happens on import, and torch is imported with the first name that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .detect import Detector
    from .errors import ConfigError, DarknetError, DataError, UnusedOptionWarning, WeightsError
    from .layers import Layer, Shape, section
    from .loading import load
    from .network import Network
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
    "Detector": "detect",
    "Layer": "layers",
    "Network": "network",
    "Results": "results",
    "Shape": "layers",
    "Trainer": "trainer",
    "UnusedOptionWarning": "errors",
    "WeightsError": "errors",
    "load": "loading",
    "load_weights": "weights:load",
    "save_weights": "weights:save",
    "section": "layers",
}

__all__ = [
    "Boxes",
    "ConfigError",
    "DarknetError",
    "DataError",
    "Detector",
    "Layer",
    "Network",
    "Results",
    "Shape",
    "Trainer",
    "UnusedOptionWarning",
    "WeightsError",
    "__version__",
    "load",
    "load_weights",
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
