"""``Trainer``: the recipe's ``train.Trainer`` that also runs: from a data set to weights, chart and log."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .._typing import StrPath
from ..data import data_file, labels
from ..data.dataset import Dataset
from ..data.formats import load_dataset
from ..errors import ConfigError, DataError, WeightsError
from ..evaluation.evaluator import prepare_dataset
from ..network import Network
from . import batches, checkpoints, train, validation
from .checkpoints import CheckpointWriter
from .logger import MetricLogger
from .run import Batches, Outcome, Run, Settings
from .validation import Score

_LONG = 10000  # max_batches from which numbered files are that far apart
_LEAST = 100  # iterations between two countings of mAP

Data = Dataset | Batches | StrPath


class Trainer(train.Trainer):
    """Trains a network in place, step by step or to the end of its recipe.

    ``data``: what ``run`` trains on: what ``data.formats.load_dataset`` reads, or a data set, or batches; for a
    classifier a .data file with ``labels=``. The other arguments are those of ``train.Trainer``; ``seed`` decides
    all that is random. Raises ConfigError.
    """

    def __init__(self, network: Network, data: Data | None = None, *, seed: int = 0, **options: Any) -> None:
        super().__init__(network, seed=seed, **options)
        self.data, self.seed = data, seed

    def run(
        self,
        *,
        out: StrPath | None = None,
        name: str = "",
        resume: StrPath | None = None,
        score: bool = True,
        map_every: int = 0,
        map_epochs: float = 4,
        threshold: float = 0.25,
        iou_threshold: float = 0.5,
        save_every: int = 0,
        save_last: int = 0,
        chart: StrPath | None = None,
        tensorboard: bool = False,
        progress: bool = True,
        workers: int = 4,
        mended: bool = False,
        chunks: int = 0,
        **settings: Any,
    ) -> Outcome:
        """Train up to ``max_batches`` and write what ``snapshots`` and ``journal`` say into ``out``.

        ``out``: by default the .data file's ``backup``, else ``backup``. ``name``: of the files, by default the
        cfg's. ``resume``: a state file to go on from. ``score``: count mAP, every ``map_every`` iterations, by
        default every ``map_epochs`` times the training set; ``threshold`` and ``iou_threshold`` are its. ``save_every``
        and ``save_last``: iterations between files, by default the .data file's or Darknet's 1000 or 10000, and
        100. ``chart``: another file, empty for none. ``workers``: threads that make images. ``mended``, ``chunks``:
        see ``batches``. ``settings``: see ``run.Settings``. Raises DarknetError, and KeyboardInterrupt after Ctrl-C,
        when all is saved.
        """
        entries = self._entries()
        state = None if resume is None else checkpoints.read(resume)
        if state is not None and resume is not None:
            state.fill(self.network, resume)
            try:
                self.load_state_dict(dict(state.trainer))
            except (ValueError, KeyError) as error:
                raise WeightsError(f"{os.fspath(resume)}: not of {self.network.config.path}: {error}") from error
            self.seed = state.seed
        source, size = self._batches({"workers": workers}, {"mended": mended, "chunks": chunks})
        measure = self._score(entries, threshold, iou_threshold, workers) if score else None
        every = map_every or max(_LEAST, int(map_epochs * size / self.images))
        whole = Settings(seed=self.seed, map_every=every if measure else 0, **settings)
        folder = out if out is not None else entries.get("backup", "backup")
        name = name or checkpoints.base(self.network.config.path)
        numbered = _LONG if self.options.max_batches >= _LONG else _LONG // 10
        files = CheckpointWriter(
            folder,
            name,
            every=save_every or _integer(entries, "saveweights", numbered),
            last=save_last or _integer(entries, "savelast", 100),
        )
        if state is None and self.team.writes:
            files.clear()
        journal = MetricLogger(
            folder,
            name,
            start=self.iteration if state else 0,
            last=self.options.max_batches,
            top=self.options.max_chart_loss,
            chart=chart,
            tensorboard=tensorboard and self.team.writes,
            loud=progress and self.team.writes,
            measured="mAP" if self.network.heads else f"top-{_integer(entries, 'top', 1)}",
        )
        journal.say(self._intent(size, folder))
        run = Run(self, source, files, journal, score=measure, settings=whole, team=self.team)
        if state is not None:
            run.resume(state)
        return run.run()

    def _intent(self, images: int, folder: StrPath) -> str:
        """What a run is about to do, in a line."""
        options, shape = self.options, self.network.shape
        until = f" to {options.max_batches:,}" if options.max_batches else ", without end"
        parts = f", {options.subdivisions} mini-batches" if options.subdivisions > 1 else ""
        device = next(self.network.parameters()).device
        of = f"{images:,} images; " if images else ""
        each = f"images of {shape.width} x {shape.height}" if options.width else "inputs"
        many = f"{self.images} {each} in each{parts}, on {device}"
        return f"{of}iterations {self.iteration + 1:,}{until}, {many}; files: {os.fspath(folder)}"

    def _entries(self) -> Mapping[str, str]:
        """The .data file's."""
        path = _data_file(self.data)
        return data_file.read_data_file(path).values if path else {}

    def _batches(self, options: dict[str, Any], how: dict[str, Any]) -> tuple[Batches, int]:
        """Where images come from, and how many there are."""
        if self.data is None:
            raise DataError("nothing to train on: expected Trainer(network, data)")
        if not isinstance(self.data, Dataset | str | os.PathLike):
            return self.data, 0
        options |= {"rank": self.team.rank, "world": self.team.world}
        if self.network.heads:
            dataset = self.data if isinstance(self.data, Dataset) else load_dataset(self.data, "train")
            loader = batches.for_detector(self.network, dataset, seed=self.seed, **how, **options)
            if self.team.writes:
                labels.log_problems(loader.problems)
            return loader, len(dataset)
        images, words = self._classified("train")
        loader = batches.for_classifier(self.network, images, words, seed=self.seed, chunks=how["chunks"], **options)
        return loader, len(images)

    def _classified(self, subset: str) -> tuple[list[str], tuple[str, ...]]:
        """Images and labels of a classifier's .data file."""
        path = _data_file(self.data)
        if not path:
            raise DataError("a classifier trains on a .data file with train= and labels=")
        settings = data_file.read_data_file(path)
        words = data_file.read_names(settings.get_path("labels")) if "labels" in settings.values else ()
        return data_file.read_list(settings.get_path(subset)), words

    def _score(self, entries: Mapping[str, str], threshold: float, iou_threshold: float, workers: int) -> Score | None:
        """What the run is measured by; None where there is nothing to measure on."""
        if not isinstance(self.data, Dataset | str | os.PathLike):
            return None
        if self.network.heads:
            held = prepare_dataset(self.network, self.data)
            held = replace(held, problems=())
            limits = {"threshold": threshold, "iou_threshold": iou_threshold}
            return validation.mean_average_precision(self.network, held, self.team, **limits, workers=workers)
        if "valid" not in entries or "labels" not in entries:
            return None
        images, words = self._classified("valid")
        top = _integer(entries, "top", 1)
        return validation.right(self.network, images, words, self.team, top=top, workers=workers)


def _data_file(source: Data | None) -> StrPath:
    """The .data file that ``source`` is; empty where it is something else."""
    named = isinstance(source, str | os.PathLike) and pathlib.Path(source).suffix.lower() == ".data"
    return source if named and isinstance(source, str | os.PathLike) else ""


def _integer(entries: Mapping[str, str], key: str, default: int) -> int:
    try:
        return int(entries.get(key, default))
    except ValueError:
        raise ConfigError(f"{key}: expected an integer, got {entries[key]!r}") from None
