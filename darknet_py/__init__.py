"""Darknet networks in PyTorch: cfg files run unmodified, .weights files load and save byte for byte.

Nothing happens on import, and torch is imported with the first name that needs it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .backbones import Backbone, backbone
    from .classifier import Classifier
    from .compat.opencv import DetectionModel
    from .conversion.checkpoints import convert
    from .data.dataset import Dataset
    from .detector import Detector
    from .errors import (
        CheckpointError,
        ConfigError,
        DarknetError,
        DataError,
        UnusedOptionWarning,
        WeightsError,
        WeightsWarning,
    )
    from .evaluation.evaluator import evaluate
    from .evaluation.scores import Evaluation
    from .exporters.exporter import export
    from .inference.allocator import keep_freed_memory
    from .inference.fused_network import optimise
    from .layers import Layer, Shape, load_plugin, section
    from .loading import load, save
    from .network import Network
    from .pruning.pruner import Pruned, prune
    from .publishing.upload import push
    from .quantization.int8_export import export_int8
    from .results.results import Results
    from .results.rows import Boxes
    from .tracking import Tracker
    from .training.callbacks import Callback, StopTraining
    from .training.options import TrainOptions
    from .training.trainer import Trainer
    from .tuning.records import SearchResult
    from .tuning.search import evolve
    from .weights import load as load_weights
    from .weights import save as save_weights

_HOMES = {
    "Backbone": "backbones",
    "Boxes": "results.rows",
    "Callback": "training.callbacks",
    "CheckpointError": "errors",
    "Classifier": "classifier",
    "ConfigError": "errors",
    "DarknetError": "errors",
    "DataError": "errors",
    "Dataset": "data.dataset",
    "DetectionModel": "compat.opencv",
    "Detector": "detector",
    "Evaluation": "evaluation.scores",
    "Layer": "layers",
    "Network": "network",
    "Pruned": "pruning.pruner",
    "Results": "results.results",
    "SearchResult": "tuning.records",
    "Shape": "layers",
    "StopTraining": "training.callbacks",
    "Tracker": "tracking",
    "TrainOptions": "training.options",
    "Trainer": "training.trainer",
    "UnusedOptionWarning": "errors",
    "WeightsError": "errors",
    "WeightsWarning": "errors",
    "backbone": "backbones",
    "convert": "conversion.checkpoints",
    "evaluate": "evaluation.evaluator",
    "evolve": "tuning.search",
    "export": "exporters.exporter",
    "export_int8": "quantization.int8_export",
    "keep_freed_memory": "inference.allocator",
    "load": "loading",
    "load_plugin": "layers",
    "load_weights": "weights:load",
    "optimise": "inference.fused_network",
    "prune": "pruning.pruner",
    "push": "publishing.upload",
    "save": "loading",
    "save_weights": "weights:save",
    "section": "layers",
}

__all__ = [
    "Backbone",
    "Boxes",
    "Callback",
    "CheckpointError",
    "Classifier",
    "ConfigError",
    "DarknetError",
    "DataError",
    "Dataset",
    "DetectionModel",
    "Detector",
    "Evaluation",
    "Layer",
    "Network",
    "Pruned",
    "Results",
    "SearchResult",
    "Shape",
    "StopTraining",
    "Tracker",
    "TrainOptions",
    "Trainer",
    "UnusedOptionWarning",
    "WeightsError",
    "WeightsWarning",
    "__version__",
    "backbone",
    "convert",
    "evaluate",
    "evolve",
    "export",
    "export_int8",
    "keep_freed_memory",
    "load",
    "load_plugin",
    "load_weights",
    "optimise",
    "prune",
    "push",
    "save",
    "save_weights",
    "section",
]


def __getattr__(name: str) -> Any:
    """Import a public name or a module on first use (PEP 562)."""
    if name not in _HOMES:
        if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_module(f"{__name__}.{name}")
    module, _, other = _HOMES[name].partition(":")
    value = getattr(import_module(f"{__name__}.{module}"), other or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
