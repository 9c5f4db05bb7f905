"""Load the network that a verb's arguments name."""

from __future__ import annotations

import argparse
import functools
import os
import warnings
from typing import TYPE_CHECKING, Any

from ..errors import DataError, WeightsError, WeightsWarning
from ..hub.model_files import Model, find
from ..runtimes import is_model_file

if TYPE_CHECKING:
    from .._typing import StrPath
    from ..data.class_names import ClassNames
    from ..inference.exported_model import ExportedModel
    from ..loading import NetworkLoader
    from ..network import Network

_ADVICE = " (--allow-non-finite accepts them)"


def load_plugins(args: argparse.Namespace) -> None:
    """Load the modules that ``--plugin``, or Darknet's way of writing it, names."""
    if names := getattr(args, "plugin", None):
        from ..layers import load_plugin

        for name in [names] if isinstance(names, str) else names:
            load_plugin(name)


def find_files(args: argparse.Namespace) -> Model:
    """Find the files of MODEL and WEIGHTS."""
    return find(args.model, args.weights, fetch=args.fetch)


def _describe_missing_weights(path: str) -> str:
    """Say what is wrong with MODEL if no weights are known: for a cfg that, else that it is none."""
    expected = "expected a cfg with its weights, a .pt or .safetensors checkpoint, or a name of the catalogue"
    if os.path.isdir(path) and not is_model_file(path):
        return f"{expected}, found a folder"
    if is_model_file(path):
        return f"{expected}, found an exported file, which this command does not read"
    if path.endswith(".bin"):
        described = (os.path.splitext(path)[0] + suffix for suffix in (".param", ".xml"))
        if belongs := next(filter(os.path.isfile, described), None):
            return f"the weights of {belongs}: expected that file"
    return "expected WEIGHTS after it, or --fetch to download those of the catalogue"


def load_network(args: argparse.Namespace, model: Model) -> Network:
    """Load a network with its weights, on the device that the arguments name.

    Raises:
        WeightsError: the model has no weights, or they contain NaN or Inf.
    """
    from ..data.data_file import read_names
    from ..weights.containers import is_container

    is_checkpoint = is_container(model.cfg)  # contains cfg, weights and dialect
    if model.weights is None and not is_checkpoint:
        raise WeightsError(f"{args.model}: {_describe_missing_weights(args.model)}")
    network = load(
        model.cfg,
        model.weights,
        allow_non_finite=args.allow_non_finite,
        size=tuple(args.size) if args.size else None,
        dialect=None if is_checkpoint else args.dialect,
        device=args.device,
        strict=args.strict,
        max_bytes=args.max_bytes,
        allow_paths=args.allow_paths,
    )
    if model.names and not network.names and matching_names(model.names, network):
        network.names = read_names(model.names)
    return network


def load_model(args: argparse.Namespace, model: Model) -> NetworkLoader | ExportedModel:
    """Open an exported file, or load a network as ``load_network`` does, for one that may free its plain weights."""
    from ..inference.exported_model import ExportedModel
    from ..loading import NetworkLoader

    if not is_model_file(model.cfg):
        load = functools.partial(load_network, args, model)
        return NetworkLoader(load, load())
    if model.weights is not None:
        raise DataError(f"{args.model}: contains its weights: expected none after it, found {model.weights}")
    return ExportedModel(model.cfg, size=tuple(args.size) if args.size else None)


def load(
    cfg: StrPath, weights: StrPath | None, *, allow_non_finite: bool, advice: str = _ADVICE, **options: Any
) -> Network:
    """Load a network as ``loading.load`` does, but refuse weights that contain NaN or Inf unless they are allowed.

    Args:
        cfg: the cfg or checkpoint.
        weights: its weights, if any.
        allow_non_finite: warn only.
        advice: end of the error's sentence.
        **options: further arguments of ``loading.load``.
    """
    from .. import loading

    with warnings.catch_warnings():
        if not allow_non_finite:
            warnings.simplefilter("error", WeightsWarning)
        try:
            return loading.load(cfg, weights, **options)
        except WeightsWarning as warning:
            raise WeightsError(f"{warning}; expected numbers{advice}") from warning


def build_network(args: argparse.Namespace, cfg_path: StrPath, *, strict: bool) -> Network:
    """Build the network of a cfg without weights, with the options of ``_options.add_network``."""
    from .. import cfg
    from ..network import Network

    return Network(
        cfg.load(cfg_path, allow_paths=args.allow_paths),
        size=tuple(args.size) if args.size else None,
        dialect=args.dialect,
        strict=strict,
        max_bytes=args.max_bytes,
    )


def matching_names(names: ClassNames, network: Network) -> ClassNames:
    """Return class names if there are as many as the network has classes, otherwise None."""
    from ..data.class_names import resolve_class_names

    try:
        resolve_class_names(names, network.heads[-1].classes if network.heads else 0)
    except DataError:
        return None
    return names
