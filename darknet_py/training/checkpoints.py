"""``CheckpointWriter``: what a training writes, under Darknet's names, and what it needs to go on.

    NAME_1000.weights   every ``every`` iterations       NAME_last.weights   every ``last`` iterations
    NAME_best.weights   at the best mAP so far           NAME_ema.weights    with _last, of averaged weights
    NAME_final.weights  at the end

NAME is the cfg's up to its first dot. NAME_last.state.pt is written with NAME_last.weights, whole or not at all,
and is enough by itself to go on as if nothing had happened:

    format       "darknet_py training 1"
    network      the state dict, every tensor as it was
    trainer      ``Trainer.state_dict()``: iteration, velocities, averaged weights, random generator
    run          what the loop remembers: average loss, best mAP, ...
    seed         of everything random, which the seed and the iteration give anew (images, dropout)
    cfg          the text of the cfg
    package      version of darknet_py that wrote the file

Only plain values and tensors, so ``torch.load`` takes it with ``weights_only=True``.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import weights
from .._typing import StrPath
from ..errors import ConfigError, DataError, WeightsError
from ..network import Network
from ..weights import containers

FORMAT = "darknet_py training 1"
_SUFFIX = ".state.pt"


def base(cfg: StrPath) -> str:
    """What files of a training are called after: the cfg's name up to its first dot."""
    return pathlib.Path(cfg).name.partition(".")[0]


def beside(path: StrPath) -> pathlib.Path:
    """Where the state of a training lies whose weights are ``path``."""
    return pathlib.Path(path).with_suffix(_SUFFIX)


@dataclass(frozen=True)
class TrainingState:
    """What a state file holds; the module's docstring says what each entry is."""

    network: Mapping[str, Any]
    trainer: Mapping[str, Any]
    run: Mapping[str, Any]
    seed: int
    cfg: str

    @property
    def iteration(self) -> int:
        """Updates made."""
        return int(self.trainer["iteration"])

    def fill(self, network: Network, path: StrPath) -> None:
        """Copy the weights into a network. Raises WeightsError where it is another one."""
        wanted = {name: tuple(t.shape) for name, t in network.state_dict().items()}
        given = {name: tuple(t.shape) for name, t in self.network.items()}
        for name in sorted(wanted.keys() | given.keys()):
            there, here = given.get(name, "missing"), wanted.get(name, "missing")
            if there != here:
                where = f"{name} is {there} there and {here} in {network.config.path}"
                raise WeightsError(f"{os.fspath(path)}: a training of another network: {where}")
        network.load_state_dict(dict(self.network))


def read(path: StrPath) -> TrainingState:
    """Read a state file. Raises WeightsError."""
    content = containers.read(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise WeightsError(f"{os.fspath(path)}: expected the state of a training ({FORMAT!r}), found {found!r}")
    try:
        return TrainingState(*(content[name] for name in TrainingState.__dataclass_fields__))
    except KeyError as error:
        raise WeightsError(f"{os.fspath(path)}: a damaged state: no entry {error}") from None


class CheckpointWriter:
    """Writes the files of a training into ``folder``, which is made.

    ``every``: iterations between numbered files, ``last``: between _last files. Raises DataError where the
    folder cannot be made.
    """

    def __init__(self, folder: StrPath, name: str, *, every: int = 1000, last: int = 100) -> None:
        self.folder, self.name = pathlib.Path(folder), name
        for key, count in (("every", every), ("last", last)):
            if count < 1:
                raise ConfigError(f"{key}: expected 1 iteration or more between files, got {count}")
        self.every, self.last = every, last
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.folder}: {error.strerror or error}") from error

    def path(self, kind: str | int) -> pathlib.Path:
        """The .weights file of a kind (``last``, ``best``, ``final``, ``ema``) or iteration."""
        return self.folder / f"{self.name}_{kind}.weights"

    @property
    def state(self) -> pathlib.Path:
        """The state file."""
        return beside(self.path("last"))

    def save(self, network: Network, kind: str | int) -> pathlib.Path:
        """Write a .weights file. Raises WeightsError where that is impossible."""
        weights.save(network, self.path(kind))
        return self.path(kind)

    def save_state(self, network: Network, trainer: Mapping[str, Any], run: Mapping[str, Any], seed: int) -> None:
        """Write _last.weights and the state beside it."""
        from .._version import __version__

        self.save(network, "last")
        entries: dict[str, Any] = {
            "format": FORMAT,
            "package": __version__,
            "network": network.state_dict(),
            "trainer": dict(trainer),
        }
        entries |= {"run": dict(run), "seed": seed, "cfg": network.config.text}
        containers.write(self.state, entries)

    def clear(self) -> None:
        """Take away the state of an earlier training of that name: a new one begins."""
        with contextlib.suppress(FileNotFoundError):
            self.state.unlink()
