"""Find the files of a model: cfg, weights and class names.

A model is a name of the catalogue (``yolov4-tiny``), an address on the Hugging Face Hub (``hf://owner/repo``) or the
path of a cfg. For a name, the cfg and class names are those
of the package, and the weights are downloaded if they are not in the cache. For a path, the class names are those of
the catalogue's network with the same cfg file name, if there is one.
"""

from __future__ import annotations

import os
import pathlib
from dataclasses import dataclass

from .._typing import StrPath
from ..errors import ConfigError, DarknetError, did_you_mean
from . import catalogue, huggingface


@dataclass(frozen=True)
class Model:
    """The files of a model; None for a file that it does not have."""

    cfg: StrPath
    weights: StrPath | None = None
    names: StrPath | None = None


def find(model: StrPath, weights: StrPath | None = None, *, fetch: bool = False, progress: bool = True) -> Model:
    """Find the files of a model.

    Args:
        model: a name of the catalogue, an address on the Hub, or the path of a cfg.
        weights: the weights, instead of the catalogue's.
        fetch: for a path without weights, download those of the catalogue's network with the same cfg file name.
        progress: show the progress of a download on stderr.

    Raises:
        DarknetError: there is no such model, it is not a network, or its weights cannot be downloaded.
    """
    if weights is not None and _suffix(model) == ".weights" and _suffix(weights) == ".cfg":
        raise ConfigError(
            f"{os.fspath(model)}: expected the cfg before the weights, as in: {os.fspath(weights)} {os.fspath(model)}"
        )
    if huggingface.is_address(model):
        found = huggingface.fetch(model, with_weights=weights is None, progress=progress)
        return Model(found.cfg, weights or found.weights, found.names)
    cfg = find_cfg(model)
    if is_name(model):
        name = os.fspath(model)
        return Model(cfg, weights or catalogue.fetch(name, progress), catalogue.names_path(name))
    entry = next((e for e in catalogue.entries().values() if e.cfg == cfg.name and e.kind != "backbone"), None)
    if weights is None and fetch:
        if entry is None:
            raise DarknetError(f"{cfg.name}: expected weights: the catalogue has none for this cfg")
        weights = catalogue.fetch(entry, progress)
    names = catalogue.names_path(entry.name, cfg) if entry is not None else None
    return Model(cfg, weights, names)


def find_cfg(model: StrPath) -> pathlib.Path:
    """Find the cfg of a model, a name, an address or a path, without looking for its weights.

    Of an address without a .cfg it is the checkpoint.

    Raises:
        DarknetError: there is no such model, or it is not a network.
    """
    text = os.fspath(model)
    if huggingface.is_address(text):
        return pathlib.Path(huggingface.fetch(text, with_weights=False).cfg)
    path = pathlib.Path(text)
    if is_name(model):
        named = catalogue.find(text)
        if not named.cfg:
            raise ConfigError(
                f"{text!r}: expected a network, found the {named.kind} of that name: "
                f"the networks are {', '.join(networks())}"
            )
        return catalogue.cfg_path(text)
    if not path.exists():
        raise ConfigError(f"{text}: no such file{did_you_mean(path.stem, networks())}")
    return path


def _suffix(path: StrPath) -> str:
    return pathlib.Path(path).suffix.lower()


def is_name(model: StrPath) -> bool:
    """Whether ``model`` is a name rather than a path: it has no folder or suffix, and there is no such file."""
    path = pathlib.Path(model)
    return not path.exists() and path.suffix == "" and path.name == os.fspath(model)


def is_cfg(model: StrPath) -> bool:
    """Whether ``model`` is the path of a cfg, by its suffix."""
    return _suffix(model) == ".cfg" and not huggingface.is_address(model)


def is_remote(model: StrPath) -> bool:
    """Whether ``find`` looks up a model elsewhere than at its path: by name, or on the Hub."""
    return is_name(model) or huggingface.is_address(model)


def networks() -> list[str]:
    """Return the names of the catalogue's networks."""
    return [entry.name for entry in catalogue.entries().values() if entry.cfg and entry.kind != "backbone"]
