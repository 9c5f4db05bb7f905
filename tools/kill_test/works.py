"""The kinds of work that are killed, and the checks of their files."""

# ruff: noqa: D102 (the methods of a kind of work are described by Work)
from __future__ import annotations

import functools
import hashlib
import os
import pathlib
import random
import time

import torch

from darknet_py import loading
from darknet_py.exporters.exporter import export
from darknet_py.hub import catalogue
from darknet_py.hub.download import Url
from darknet_py.network import Network
from darknet_py.training import checkpoints, resume
from darknet_py.training.options import TrainOptions
from darknet_py.training.trainer import Trainer
from tests.helpers import http_server, synthetic_data

from .processes import run_in_process

_SAVED = ("a.weights", "a.pt", "a.safetensors")


_BLOCKS = 40  # of 256 KB in the file that is downloaded


_ITERATIONS = 24


class Work:
    """One kind of work in a folder.

    Attributes:
        folder: where it writes.
        period: seconds within which it is killed.
    """

    period = 0.1

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        folder.mkdir()

    def prepare(self) -> None:
        """Compute what ``check`` expects; called once, before the first kill."""

    def run(self) -> None:
        """Do the work until it is killed, or once completely."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise AssertionError if a file is damaged."""
        raise NotImplementedError

    def finish(self) -> None:
        """Raise AssertionError if the work, done once more without a kill, has another result than without kills."""
        run_in_process(self.run_once)
        self.check()
        left = [name for name in os.listdir(self.folder) if name.startswith(".") or name.endswith(".part")]
        assert not left, f"left over: {left}"

    def run_once(self) -> None:
        """Do the work once."""
        self.run()


class Saving(Work):
    """Two networks are saved in turn, in each format."""

    def prepare(self) -> None:
        self._networks = [_constant_network(value) for value in (1.0, 2.0)]

    def run(self) -> None:
        while True:
            self.run_once()

    def run_once(self) -> None:
        for network in self._networks:
            for name in _SAVED:
                loading.save(network, self.folder / name)

    def check(self) -> None:
        for name in _SAVED:
            if (self.folder / name).exists():
                tensors = loading.load("digits", self.folder / name).state_dict().values()
                values = {float(value) for tensor in tensors for value in tensor.unique()}
                assert values in ({1.0}, {2.0}), f"{name}: a mixture of {sorted(values)[:5]}"


class Exporting(Work):
    """Two networks are exported to ONNX in turn."""

    period = 0.6

    def prepare(self) -> None:
        self._networks = [_constant_network(value) for value in (1.0, 2.0)]
        self._hashes: set[str] = set()
        for network in self._networks:
            run_in_process(functools.partial(export, network, self.folder / "a.onnx"))
            self._hashes.add(_digest(self.folder / "a.onnx"))
        assert len(self._hashes) == 2

    def run(self) -> None:
        while True:
            self.run_once()

    def run_once(self) -> None:
        for network in self._networks:
            export(network, self.folder / "a.onnx")

    def check(self) -> None:
        assert _digest(self.folder / "a.onnx") in self._hashes, "a.onnx: neither the old nor the new file"


class Downloading(Work):
    """A file is fetched into the cache; a download with a known hash is resumed."""

    def __init__(self, folder: pathlib.Path, site: http_server.Site) -> None:
        super().__init__(folder)
        self._site = site

    def prepare(self) -> None:
        self._content = bytes(12) + random.Random(1).randbytes(_BLOCKS << 18)
        url = Url(self._site.serve("a.weights", self._content))
        self._entries = [
            catalogue.CatalogueEntry(
                name=name,
                kind="backbone",
                file=f"{name}.weights",
                sha256=sha256,
                bytes=len(self._content),
                sources=(url,),
            )
            for name, sha256 in (("known", hashlib.sha256(self._content).hexdigest()), ("unknown", ""))
        ]

    def run(self) -> None:
        os.environ["DARKNET_PY_HOME"] = str(self.folder)
        while True:
            self.run_once()
            for entry in self._entries:
                (self.folder / entry.file).unlink()

    def run_once(self) -> None:
        os.environ["DARKNET_PY_HOME"] = str(self.folder)
        for entry in self._entries:
            catalogue.fetch(entry, progress=False)

    def check(self) -> None:
        for entry in self._entries:
            path = self.folder / entry.file
            assert not path.exists() or path.read_bytes() == self._content, f"{path.name}: damaged"


class Training(Work):
    """A small training, which is resumed after each kill; a complete one is compared, and starts again."""

    def prepare(self) -> None:
        self._cfg = synthetic_data.cfg(
            self.folder, max_batches=_ITERATIONS, ema_alpha=0.9, adversarial_lr=0.1, policy="random", burn_in=2
        )
        self._data = synthetic_data.data(self.folder)
        start = time.monotonic()
        run_in_process(lambda: self._train(self.folder / "whole"))
        self.period = time.monotonic() - start
        self._expected = _tensors(self.folder / "whole")
        self.completed = 0

    def run(self) -> None:
        self._train(self.folder / "parts")

    def check(self) -> None:
        state = self.folder / "parts" / "tiny_last.state.pt"
        if not state.exists():
            return
        iteration = checkpoints.read_state(state).iteration
        for path in (self.folder / "parts").glob("*.weights"):
            loading.load(self._cfg, path)
        if iteration == _ITERATIONS and (self.folder / "parts" / "tiny_final.weights").exists():
            self._compare()

    def finish(self) -> None:
        if not (self.folder / "parts" / "tiny_final.weights").exists():
            run_in_process(self.run)
            self._compare()

    def _train(self, folder: pathlib.Path) -> None:
        network = resume.build_network(self._cfg, seed=3)
        options = TrainOptions(
            seed=3, resume=True, output=folder, save_last=3, workers=1, chart="", validate=False, verbose=False
        )
        Trainer(network, self._data, options).run()

    def _compare(self) -> None:
        found = _tensors(self.folder / "parts")
        for name, tensor in self._expected.items():
            assert torch.equal(tensor, found[name]), f"{name}: other weights than without kills"
        for path in (self.folder / "whole").glob("*_final.weights"):
            assert path.read_bytes() == (self.folder / "parts" / path.name).read_bytes(), f"{path.name}: other bytes"
        self.completed += 1
        for path in (self.folder / "parts").iterdir():
            path.unlink()


def _constant_network(value: float) -> Network:
    network = loading.load("digits")
    for tensor in network.state_dict().values():
        tensor.fill_(value)
    return network


def _tensors(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    return dict(checkpoints.read_state(folder / "tiny_last.state.pt").network)


def _digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
