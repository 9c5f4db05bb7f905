"""Options of verbs that run a ``Detector``: which boxes it reports, and the detector that they describe."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import DataError
from . import _model, _options

if TYPE_CHECKING:
    from ..detector import Detector
    from ..hub.model_files import Model


def add_boxes(group: argparse._ActionsContainer, *, max_pixels: int, engine: str = "auto") -> None:
    """Add the options of how images become boxes; ``max_pixels`` and ``engine``: the defaults of these options."""
    _options.add(group, "--names")
    _options.add(group, "--classes")
    _options.add(group, "--skip-classes")
    _options.add(group, "--conf", default=0.25)
    _options.add(group, "--class-conf")
    _options.add(group, "--nms", default=0.45)
    _options.add(group, "--nms-kind")
    _options.add(group, "--agnostic-nms")
    _options.add(group, "--max-det", default=0)
    _options.add(group, "--hier", default=0.5)
    _options.add(group, "--letterbox", note="(default: as the cfg says)")
    _options.add(group, "--exif")
    _options.add(group, "--max-pixels", default=max_pixels)
    _options.add_engine(group, engine)


def create_detector(
    args: argparse.Namespace, model: Model, *, batch: int = 1, threshold: float | None = None
) -> Detector:
    """Load the network and create the detector that the options of ``add_boxes`` describe.

    ``threshold``: instead of ``--conf``.
    """
    from ..detector import Detector
    from ..loading import NetworkLoader

    source = _model.load_model(args, model)
    is_network = isinstance(source, NetworkLoader)
    return Detector(
        source,
        names=args.names or (_model.matching_names(model.names, source.network) if is_network else None),
        threshold=args.conf if threshold is None else threshold,
        class_thresholds=_class_thresholds(args.class_conf),
        classes=args.classes,
        skip_classes=args.skip_classes,
        nms=args.nms,
        nms_kind=args.nms_kind,
        agnostic_nms=args.agnostic_nms,
        max_detections=args.max_det,
        letterbox=args.letterbox,
        hierarchy=args.hier,
        batch=batch,
        engine=args.engine,
        dtype=args.dtype,
        exif=bool(args.exif),
        max_pixels=args.max_pixels,
    )


def _class_thresholds(words: Sequence[str]) -> dict[str | int, float]:
    thresholds: dict[str | int, float] = {}
    for word in words:
        name, _, value = word.rpartition("=")
        try:
            thresholds[name] = float(value)
        except ValueError:
            raise DataError(f"--class-conf: expected CLASS=P, got {word!r}") from None
    return thresholds
