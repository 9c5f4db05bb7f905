"""What a user calls a model, to the files it is made of.

A model is a name of the catalogue (``yolov4-tiny``) or the path of a cfg. A name brings its cfg and class
names from the package and its weights from the cache, or, as asking by name is asking for it, from where
the catalogue says. A path brings nothing but itself, and the class names of the catalogue's network whose
cfg has that file name.
"""

from __future__ import annotations

import os
import pathlib
from dataclasses import dataclass

from .._typing import StrPath
from ..errors import ConfigError, DarknetError, did_you_mean
from . import catalogue


@dataclass(frozen=True)
class Model:
    """The files of a model; None for what there is not."""

    cfg: StrPath
    weights: StrPath | None = None
    names: StrPath | None = None


def find(model: StrPath, weights: StrPath | None = None, *, fetch: bool = False, progress: bool = True) -> Model:
    """Find the files of a model; ``weights`` given go before the catalogue's.

    ``fetch``: get the weights that the catalogue has for a cfg with that file name, where none are
    given. Raises DarknetError.
    """
    text = os.fspath(model)
    path = pathlib.Path(text)
    if is_name(model):
        named = catalogue.find(text)
        if not named.cfg:
            raise ConfigError(
                f"{text!r}: expected a network, got the {named.kind} of that name; "
                f"the networks are {', '.join(networks())}"
            )
        return Model(catalogue.cfg_path(text), weights or catalogue.fetch(text, progress), catalogue.names_path(text))
    if not path.exists():
        raise ConfigError(f"{text}: no such file{did_you_mean(path.stem, networks())}")
    entry = next((e for e in catalogue.entries().values() if e.cfg == path.name and e.kind != "backbone"), None)
    if weights is None and fetch:
        if entry is None:
            raise DarknetError(f"{path.name}: the catalogue has no weights for it; give the file")
        weights = catalogue.fetch(entry, progress)
    names = catalogue.names_path(entry.name) if entry is not None else None
    return Model(path, weights, names)


def is_name(model: StrPath) -> bool:
    """Whether ``model`` is a name of the catalogue rather than a path: one word, and no file is called so."""
    path = pathlib.Path(model)
    return not path.exists() and path.suffix == "" and path.name == os.fspath(model)


def networks() -> list[str]:
    """Names of the catalogue that stand for a whole network."""
    return [entry.name for entry in catalogue.entries().values() if entry.cfg and entry.kind != "backbone"]
