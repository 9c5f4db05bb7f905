"""Transfer learning: take the weights of every layer that fits from a network with other classes or other layers."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .. import cfg as cfg_
from .. import weights
from .._typing import StrPath
from ..cfg.editing import replace_values
from ..data import data_file
from ..errors import ConfigError, WeightsError, list_first
from ..hub import catalogue, model_files
from ..layers import Head
from ..network import INPUT, Network
from ..weights import checkpoint
from ..weights.containers import is_container
from ..weights.darknet_file import count_surplus_bytes
from ..weights.diagnostics import matching_classes

_NAMED = 6  # layers and classes in a message


class Transfer(NamedTuple):
    """What was transferred.

    Attributes:
        taken: Number of arrays that were taken as a whole.
        arrays: Number of arrays of the network.
        skipped: Layers that were not taken, with both shapes.
        rows: Numbers of the layers of which the rows of common classes were taken.
        classes: Names of these classes.
    """

    taken: int
    arrays: int
    skipped: tuple[str, ...]
    rows: tuple[int, ...]
    classes: tuple[str, ...]

    def __str__(self) -> str:
        """Describe it in a line."""
        text = f"{self.taken} of {self.arrays} arrays"
        if self.rows:
            layers = ", ".join(map(str, self.rows))
            count = len(self.classes)
            text += (
                f", and of layers {layers} the rows of {count} common class{'es' if count > 1 else ''} "
                f"({list_first(self.classes, _NAMED)}), of boxes and of objectness"
            )
        if self.skipped:
            text += f"; not taken as a whole: {list_first(self.skipped, _NAMED)}"
        return text


@torch.no_grad()
def transfer_weights(
    network: Network, path: StrPath, *, cfg: StrPath | None = None, names: Sequence[str] = ()
) -> Transfer:
    """Take the weights of every layer that fits; the others keep their values, and ``seen`` is 0.

    Layers correspond by their number. A layer fits if all its arrays have the same shapes. Where class names are known
    on both sides, the layer before a detection head with other classes gets the rows of boxes and objectness, and
    those of the classes with the same name.

    Args:
        network: The network, filled in place.
        path: A .weights file or a checkpoint.
        cfg: Cfg of a .weights file. None: that of the catalogue's weights of this name, otherwise the network's own
            with the number of classes that the length of the file implies.
        names: Class names of the network. Those of the weights are in the checkpoint, in NAME.names beside
            NAME_final.weights and other files of a run, or in the catalogue.

    Raises:
        ConfigError: ``cfg`` cannot be read.
        WeightsError: The weights cannot be read, or no layer fits.
    """
    source, count = _load_source(network, path, cfg)
    source_names = _source_names(source, path)
    by_rows = _layers_by_rows(network, source, count) if list(names) != list(source_names) else {}
    common = _common_classes(names, source_names)
    taken, total = 0, 0
    rows: list[int] = []
    skipped: list[str] = []
    for index, layer in enumerate(network):
        arrays = dict(layer.stored())
        total += len(arrays)
        given = dict(source[index].stored()) if index < min(count, len(source.layers)) else {}
        if common and index in by_rows:
            _copy_rows(arrays, given, *by_rows[index], common)
            rows.append(index)
        elif _shapes(arrays) == _shapes(given):
            taken += len(arrays)
            _copy(arrays, given)
        else:
            skipped.append(_describe(network, index, arrays, given))
    if not taken:
        raise WeightsError(f"{os.fspath(path)}: no layer of {source.config.path} fits into {network.config.path}")
    network.version = source.version
    network.seen = 0
    classes = tuple(names[number] for number, _ in common) if rows else ()
    return Transfer(taken, total, tuple(skipped), tuple(rows), classes)


def _load_source(network: Network, path: StrPath, cfg: StrPath | None) -> tuple[Network, int]:
    """The network that a file of weights belongs to, with these weights, and the number of layers that it fills."""
    if is_container(path):
        content = checkpoint.load(path)
        source = checkpoint.build(content, path)
        checkpoint.fill(source, content, path, upto=content.layers)
        return source, content.layers
    entry = _entry(path)
    if cfg is None and entry is not None and entry.cfg and entry.kind != "backbone":
        cfg = catalogue.cfg_path(entry.name)
    if cfg is not None:
        source = Network(cfg_.load(model_files.find_cfg(cfg)), dialect=network.dialect).initialise()
    else:
        source = _with_other_classes(network, path)
    count = weights.count_filled_layers(source, path)
    weights.load(source, path, upto=None if count == len(source.layers) else count)
    return source, count


def _with_other_classes(network: Network, path: StrPath) -> Network:
    """The same network with as many classes as a .weights file implies by its length."""
    surplus = count_surplus_bytes(network, path)
    classes = matching_classes(network, surplus)
    if not surplus or classes is None:
        return Network(network.config, dialect=network.dialect).initialise()
    edits: dict[int, Mapping[str, str]] = {}
    for index, head in enumerate(network):
        if not isinstance(head, Head) or INPUT in network.sources[index]:
            continue
        edits[index + 1] = head.class_keys(classes)
        for before, channels in zip(network.sources[index], head.inputs_for(classes), strict=True):
            edits[before + 1] = {_outputs_key(network, before): str(channels)}
    if not edits:  # a classifier: the last layer with weights
        last = max(index for index, layer in enumerate(network) if any(True for _ in layer.stored()))
        edits[last + 1] = {_outputs_key(network, last): str(classes)}
    text, path_of_cfg = replace_values(network.config, edits), f"{network.config.path} with {classes} classes"
    try:
        config = cfg_.loads(text, path_of_cfg, allow_paths=network.config.allow_paths)
        return Network(config, dialect=network.dialect).initialise()
    except ConfigError as error:
        raise WeightsError(
            f"{os.fspath(path)}: the cfg of these weights is needed (--weights-cfg; weights_cfg=): {error}"
        ) from error


def _outputs_key(network: Network, index: int) -> str:
    """The key that sets the number of outputs of a layer."""
    return "filters" if hasattr(network[index].options, "filters") else "output"


def _common_classes(names: Sequence[str], source_names: Sequence[str]) -> list[tuple[int, int]]:
    """Numbers of the classes that have the same name, here and there."""
    theirs = {name: number for number, name in reversed(list(enumerate(source_names)))}
    return [(number, theirs[name]) for number, name in enumerate(names) if name in theirs]


def _layers_by_rows(network: Network, source: Network, count: int) -> dict[int, tuple[Head, Head]]:
    """The layers before heads whose rows correspond anchor by anchor, and the heads here and there."""
    found = {}
    for index, (head, other) in enumerate(zip(network, source, strict=False)):
        if index >= count or not (isinstance(head, Head) and isinstance(other, Head)):
            continue
        if network.sources[index] != source.sources[index] or len(network.sources[index]) > 1:
            continue
        before = network.sources[index][0]
        if before == INPUT or not _anchors(head) == _anchors(other) == len(head.anchors):
            continue
        arrays, given = dict(network[before].stored()), dict(source[before].stored())
        fits = arrays.keys() == given.keys() and all(
            array.shape[1:] == given[name].shape[1:] for name, array in arrays.items()
        )
        if fits and head.inputs_for(0) == other.inputs_for(0):
            found[before] = (head, other)
    return found


def _anchors(head: Head) -> int:
    """Anchors of a head, by the channels that a class adds."""
    return head.inputs_for(1)[0] - head.inputs_for(0)[0]


def _copy_rows(
    arrays: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    head: Head,
    other: Head,
    common: Sequence[tuple[int, int]],
) -> None:
    """Copy, of every anchor, the rows of the box, of objectness and of the common classes."""
    anchors = _anchors(head)
    first = head.inputs_for(0)[0] // anchors  # row of the first class
    for name, array in arrays.items():
        here = array.view(anchors, first + head.classes, *array.shape[1:])
        there = given[name].view(anchors, first + other.classes, *array.shape[1:])
        here[:, :first] = there[:, :first]
        for number, source_number in common:
            if number < head.classes and source_number < other.classes:
                here[:, first + number] = there[:, first + source_number]


def _source_names(source: Network, path: StrPath) -> Sequence[str]:
    """Class names of a file of weights; empty if they are not known."""
    if source.names:
        return source.names
    file = pathlib.Path(path)
    beside = [file.with_suffix(".names")]
    if "_" in file.stem:  # NAME_final.weights of a run, beside NAME.names
        beside.append(file.with_name(f"{file.stem.rpartition('_')[0]}.names"))
    entry = _entry(path)
    if entry is not None and (official := catalogue.names_path(entry.name)) is not None:
        beside.append(official)
    count = source.heads[-1].classes if source.heads else 0
    for candidate in beside:
        if candidate.is_file() and len(names := data_file.read_names(candidate)) == count:
            return names
    return ()


def _entry(path: StrPath) -> catalogue.CatalogueEntry | None:
    """The catalogue's weights with the name of a file."""
    name = pathlib.Path(path).name
    return next((entry for entry in catalogue.entries().values() if entry.file == name), None)


def _shapes(arrays: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in arrays.items()}


def _copy(arrays: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    for name, array in arrays.items():
        array.copy_(given[name])


def _describe(network: Network, index: int, arrays: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """A layer that does not fit, with the first array that differs."""
    return f"layer {index} [{network.config.sections[index + 1].name}] {next(_differences(arrays, given))}"


def _differences(arrays: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Iterator[str]:
    for name in [*arrays, *(name for name in given if name not in arrays)]:
        here, there = ("x".join(map(str, group[name].shape)) if name in group else "none" for group in (arrays, given))
        if here != there:
            yield f"({name} {there}, here {here})"
