"""The recipe of a run: what was given for it, which its state file holds and a resumed run continues with.

Beside the weights the same is written for people and other programs: NAME.cfg, the network as trained, with the values
that replaced those of the cfg and with its input size; NAME.names, the class names; NAME_args.json, the recipe.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from .. import cfg as cfg_
from .._typing import StrPath
from ..cfg import Config
from ..cfg.editing import replace_values
from ..errors import ConfigError, list_first
from ..files import atomic_write
from ..layers import Gradients
from ..network import Network
from .batches import Data
from .options import TrainOptions

_LONGEST_LIST = 12  # changes in a message


def create_recipe(
    network: Network, data: Data | None, options: TrainOptions, *, gradients: Gradients, seed: int, images: int
) -> dict[str, Any]:
    """The recipe of a run, as plain values.

    Args:
        network: The network that is trained.
        data: What it trains on.
        options: How.
        gradients: How gradients are computed.
        seed: Seed of everything random.
        images: Number of images in the data set.
    """
    return {
        "data": os.fspath(data) if isinstance(data, str | os.PathLike) else None,
        "cfg": network.config.path,
        "values": dict(network.config.overrides),
        "size": _size_given(network),
        "dialect": str(network.dialect),
        "gradients": str(gradients),
        "seed": seed,
        **options.recipe,
        "images": images,
    }


def describe_changes(
    before: Mapping[str, Any], now: Mapping[str, Any], cfg_before: str, config: Config
) -> Iterator[str]:
    """Name what differs from the run that is resumed.

    Args:
        before: Recipe of the run.
        now: Recipe of this run.
        cfg_before: Text of the cfg of the run.
        config: The cfg of this run.

    Yields:
        ``KEY OLD -> NEW``.
    """
    for key in before:
        if key != "values" and key in now and before[key] != now[key]:
            yield f"{key} {_show(before[key])} -> {_show(now[key])}"
    try:
        sections = cfg_.loads(cfg_before).sections
    except ConfigError:
        return
    for index, (old, new) in enumerate(zip_longest(sections, config.sections)):
        if old is None or new is None or old.name != new.name:
            yield f"[{(old or new).name}] of the cfg"
            return
        where = f"[{new.name}]" if index == 0 else f"layer {index - 1} [{new.name}]"
        values = {entry.key: entry.value for entry in reversed(old.entries)}
        others = {entry.key: entry.value for entry in reversed(new.entries)}
        for key in [*values, *(key for key in others if key not in values)]:
            if values.get(key) != others.get(key):
                yield f"{where} {key} {_show(values.get(key))} -> {_show(others.get(key))}"


def format_changes(changes: Sequence[str]) -> str:
    """The changes as a clause of a message; empty if there are none."""
    return f"; changed: {list_first(changes, _LONGEST_LIST)}" if changes else ""


def write_beside_weights(
    folder: StrPath, name: str, network: Network, names: Sequence[str], recipe: Mapping[str, Any]
) -> None:
    """Write NAME.cfg, NAME.names (if there are names) and NAME_args.json.

    Files of these names with another content that no run has written are kept; then NAME_trained.cfg and
    NAME_trained.names are written.

    Args:
        folder: Where to.
        name: Stem of the files.
        network: The network that is trained.
        names: Class names.
        recipe: What was given for the run, as plain values.

    Raises:
        DataError: A file cannot be written.
    """
    place = pathlib.Path(folder)
    contents = {"cfg": trained_cfg(network)}
    if names:
        contents["names"] = "".join(f"{class_name}\n" for class_name in names)
    own = _written_before(place / f"{name}_args.json")
    is_kept = any(
        f"{name}.{kind}" not in own and _differs(place / f"{name}.{kind}", text) for kind, text in contents.items()
    )
    stem = f"{name}_trained" if is_kept else name
    files = {f"{stem}.{kind}": text for kind, text in contents.items()}
    files[f"{name}_args.json"] = json.dumps({**recipe, "files": list(files)}, indent=2) + "\n"
    for file, text in files.items():
        with atomic_write(place / file, "w", encoding="utf-8", newline="\n", errors="surrogateescape") as stream:
            stream.write(text)


def trained_cfg(network: Network) -> str:
    """The text of a network's cfg, with the size of its input."""
    config = network.config
    text = config.text or cfg_.dumps(config)
    size = _size_given(network)
    if size is None:
        return text
    return replace_values(cfg_.loads(text, config.path), {0: {"width": str(size[0]), "height": str(size[1])}})


def _size_given(network: Network) -> list[int] | None:
    """Width and height of the input; None if they are those of the cfg."""
    options, shape = network.options, network.shape
    of_cfg, size = [options.width, options.height], [shape.width, shape.height]
    return size if all(of_cfg) and size != of_cfg else None


def _written_before(path: pathlib.Path) -> frozenset[str]:
    """Names of the files that earlier runs have written, by their NAME_args.json."""
    try:
        return frozenset(map(str, json.loads(path.read_text("utf-8"))["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def _differs(path: pathlib.Path, text: str) -> bool:
    """Whether a file exists and has another content."""
    try:
        return path.read_bytes() != text.encode("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _show(value: Any) -> str:
    return "none" if value is None else str(value)
