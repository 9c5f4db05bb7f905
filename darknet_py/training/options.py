"""``TrainOptions``: the options of training that are not in [net]."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from .._typing import StrPath
from ..distributed import ProcessGroup
from ..errors import ConfigError, UnusedOptionWarning
from ..images.limits import MAX_PIXELS
from ..network import Network

# Where a run starts, where it computes and writes, and its seed, which the state file holds by itself.
_NOT_IN_RECIPE = frozenset(
    (
        "seed",
        "process_group",
        "weights",
        "upto",
        "transfer",
        "weights_cfg",
        "resume",
        "device",
        "output",
        "name",
        "verbose",
        "workers",
        "max_pixels",
    )
)
_AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of training that are not in [net].

    ``Trainer.step`` uses the first group of fields, ``Trainer.run`` all of them. A resumed run keeps its options where
    they are not given again. It always keeps its ``seed``, and never ``device``, ``workers``, ``max_pixels``,
    ``output``, ``name`` and ``verbose``.

    Attributes:
        seed: Seed of everything random: images, augmentation, dropout, policy=random.
        freeze: Number of layers at the beginning that are not trained and keep their batch norm statistics.
        sparsity: Strength of the L1 penalty on the scales of batch norm, relative to the loss of one image: it makes
            small the scales of channels that matter little, which ``pruning.prune`` removes. 0: none.
        amp: Mixed precision: "bf16", "fp16" (which also scales the loss) or the torch dtype; None for float32.
        process_group: The processes that train together; None: ``run`` joins torchrun's, if it was started by it.

        weights: Weights to start from: a .weights file or checkpoint of the whole network or of its first layers
            (a backbone), or a name of the catalogue. If a training run has left its state beside them, it is resumed.
            None keeps the network's own.
        upto: Load the first so many layers of ``weights`` only.
        transfer: Take every layer of ``weights`` that fits, and where class names are known on both sides the rows of
            common classes in the heads (see ``transfer.transfer_weights``).
        weights_cfg: Cfg of ``weights``, for ``transfer`` from a network that differs in more than its classes.
        resume: True resumes from the state in ``output``, if there is one; or the path of a state file.
        device: "cpu", "cuda", ... or "auto" for the fastest; None leaves the network where it is.
        channels_last: Store images and weights channels-last during the run; None: on CPUs, where it is faster.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, a third more time.
        sync_bn: Compute batch norm statistics over all processes.
        deterministic: Use deterministic algorithms only; slower on GPUs.

        output: Folder of the files that are written; None: ``backup=`` of the .data file, else "backup".
        name: Stem of the files; "" for that of the cfg.
        save_every: Iterations between numbered .weights files; 0: ``saveweights=`` of the .data file, else 1000,
            or 10000 if max_batches is 10000 or more.
        save_last: Iterations between _last.weights files; 0: ``savelast=`` of the .data file, else 100.
        save_minutes: Save the state at least every so many minutes.

        validate: Compute mAP (a classifier's accuracy) on the validation set during training.
        map_every: Iterations between evaluations; 0: as many as ``map_epochs`` epochs have, but at least 100.
        map_epochs: Epochs between evaluations.
        score_threshold: Confidence from which detections count for precision, recall and F1.
        match_iou: IoU at which a detection counts as correct.
        patience: Stop after this many evaluations without improvement; 0: never.

        chart: File of the loss chart; None: chart_NAME.png in ``output``; "" for none.
        log: Where the numbers of each iteration are written, separated by commas: "csv" (NAME_log.csv), "tensorboard",
            "mlflow", "wandb"; see ``training.loggers``.
        verbose: Print progress on stderr.

        polygons: Take the bounding boxes of polygons in label files.
        map_classes: The network's classes of the data set's, see ``evaluation.evaluator.evaluate``.
        workers: Threads that load and augment images; 0: none.
        exif: Rotate images as their EXIF orientation says, as Darknet's builds with OpenCV do; the labels must be those
            of the rotated images.
        max_pixels: Refuse image files with more pixels.
        correct_augmentation: Correct Darknet's errors in augmentation instead of reproducing them.
    """

    seed: int = 0
    freeze: int = 0
    sparsity: float = 0.0
    amp: str | torch.dtype | None = None
    process_group: ProcessGroup | None = None

    weights: StrPath | None = None
    upto: int | None = None
    transfer: bool = False
    weights_cfg: StrPath | None = None
    resume: bool | StrPath = False
    device: str | torch.device | None = None
    channels_last: bool | None = None
    gradient_checkpointing: bool = False
    sync_bn: bool = False
    deterministic: bool = False

    output: StrPath | None = None
    name: str = ""
    save_every: int = 0
    save_last: int = 0
    save_minutes: float = 10.0

    validate: bool = True
    map_every: int = 0
    map_epochs: float = 4.0
    score_threshold: float = 0.25
    match_iou: float = 0.5
    patience: int = 0

    chart: StrPath | None = None
    log: str = "csv"
    verbose: bool = True

    polygons: bool = False
    map_classes: str = ""
    workers: int = 4
    exif: bool = False
    max_pixels: int = MAX_PIXELS
    correct_augmentation: bool = False

    def __new__(cls, **given: Any) -> TrainOptions:
        """Note which options are given."""
        options = super().__new__(cls)
        object.__setattr__(options, "_given", frozenset(given))
        return options

    @property
    def reading(self) -> dict[str, Any]:
        """The arguments of ``images.reading.read_image``."""
        return {"exif": self.exif, "max_pixels": self.max_pixels}

    @property
    def recipe(self) -> dict[str, Any]:
        """The options that a run continues with when it is resumed, as plain values."""
        return {
            field.name: _plain(getattr(self, field.name)) for field in fields(self) if field.name not in _NOT_IN_RECIPE
        }

    def resumed(self, recipe: Mapping[str, Any]) -> TrainOptions:
        """These options with those of a recipe where they are not given."""
        given: frozenset[str] = self._given  # type: ignore[attr-defined]
        held = {name: value for name, value in recipe.items() if name in self.recipe and name not in given}
        return TrainOptions(**{field.name: getattr(self, field.name) for field in fields(self)} | held)

    @property
    def amp_dtype(self) -> torch.dtype | None:
        """``amp`` as a dtype. Raises ConfigError for any other than bfloat16 and float16."""
        dtype = _AMP_DTYPES.get(self.amp) if isinstance(self.amp, str) else self.amp
        if dtype not in (*_AMP_DTYPES.values(), None) or (dtype is None and self.amp is not None):
            raise ConfigError(f"amp: expected {', '.join(_AMP_DTYPES)}, got {self.amp!r}")
        return dtype


def _plain(value: Any) -> Any:
    """An option as a bool, number, text or None."""
    if isinstance(value, torch.dtype):
        return next((name for name, dtype in _AMP_DTYPES.items() if dtype is value), str(value))
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def check_options(network: Network) -> None:
    """Raise ConfigError if the cfg has values that only training reads and that are invalid."""
    for options in (network.options, *(layer.options for layer in network)):
        for error in options.errors:
            raise ConfigError(error)


def warn_of_ignored_options(network: Network) -> None:
    """Warn of options in the cfg that training ignores, in one line."""
    ignored = "; ".join(map(str, network.ineffective_options()))
    if ignored:
        warnings.warn(f"options that do not change training: {ignored}", UnusedOptionWarning, stacklevel=3)
