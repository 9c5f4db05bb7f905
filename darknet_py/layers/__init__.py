"""The section types: every module in this package is imported and registers its section."""

from importlib import import_module
from pkgutil import walk_packages

from ._channel_groups import ChannelGroups, Channels, Score
from ._class_map import read_map
from ._classifier_head import ClassifierHead
from ._concatenation import concatenation
from ._context import Gradients, StepContext
from ._deformation import Deformation
from ._fusion import ConvolutionSpec
from ._loss import (
    IGNORED_TARGET,
    Loss,
    differentiable_loss,
    pad_targets,
    scalar_with_gradients,
    straight_through,
)
from ._param_group import ParamGroup
from ._plugins import find, is_known, load_plugin, plugin_file, plugin_of
from ._tree import Tree
from ._window_norm import is_window
from .base import LAYERS, Flattened, Layer, Shape, resolve_indices, section
from .heads._head import DecodeOptions, Head, SelectedRows
from .heads._host_copy import copy_to_host

for _module in walk_packages(__path__, f"{__name__}."):
    import_module(_module.name)

__all__ = [
    "IGNORED_TARGET",
    "LAYERS",
    "ChannelGroups",
    "Channels",
    "ClassifierHead",
    "ConvolutionSpec",
    "DecodeOptions",
    "Deformation",
    "Flattened",
    "Gradients",
    "Head",
    "Layer",
    "Loss",
    "ParamGroup",
    "Score",
    "SelectedRows",
    "Shape",
    "StepContext",
    "Tree",
    "concatenation",
    "copy_to_host",
    "differentiable_loss",
    "find",
    "is_known",
    "is_window",
    "load_plugin",
    "pad_targets",
    "plugin_file",
    "plugin_of",
    "read_map",
    "resolve_indices",
    "scalar_with_gradients",
    "section",
    "straight_through",
]
