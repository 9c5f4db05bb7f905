"""Annotate images with a model's detections, for correction in an annotation tool.

    darknet-py data annotate yolov4-tiny photos/ --to label-studio --output tasks
    darknet-py data annotate my.cfg my.weights photos/ --names my.names --to cvat --output task

Writes a new data set: the images with their detections in any format, ready for import into CVAT or Label Studio (as
predictions with scores), or for LabelMe. A box has its best class and is clipped to the image."""

from __future__ import annotations

import argparse
import functools
from typing import TYPE_CHECKING

from ...errors import DataError
from .. import _model, _options, _output, detect
from . import _writing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ...data.dataset import Sample
    from ...results.results import Results


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    detect.add_sources(parser)
    boxes = parser.add_argument_group("boxes")
    _options.add(boxes, "--names")
    _options.add(boxes, "--classes")
    _options.add(boxes, "--conf", default=0.25)
    _options.add(boxes, "--nms", default=0.45)
    _options.add(boxes, "--letterbox", note="(default: as the cfg says)")
    _options.add(boxes, "--exif")
    _options.add(boxes, "--batch", default=8)
    _options.add_engine(boxes)
    output = parser.add_argument_group("output")
    _options.add(output, "-o/--output", default="annotated", metavar="DIR", note="a new folder (default: annotated)")
    _writing.add_options(output, to="darknet")
    _options.add(output, "--quiet")
    _options.add_network(parser)


def run(args: argparse.Namespace) -> int:
    """Detect objects and write the data set."""
    from ...data.dataset import Dataset
    from ...data.writing import require_new_folder
    from ...detector import Detector
    from ...loading import NetworkLoader

    require_new_folder(args.output)
    model, images, videos = detect.split_sources(args)
    if videos:
        raise DataError(f"{videos[0]}: a video: expected images")
    source = NetworkLoader(functools.partial(_model.load_network, args, model))
    detector = Detector(
        source,
        names=args.names or _model.matching_names(model.names, source.network),
        threshold=args.conf,
        nms=args.nms,
        classes=args.classes,
        letterbox=args.letterbox,
        batch=args.batch,
        engine=args.engine,
        dtype=args.dtype,
        exif=bool(args.exif),
    )
    errors = _output.ErrorLog()
    samples: list[Sample] = []
    confidences: dict[str, npt.NDArray[np.float64]] = {}
    results = detector.stream(images, on_error=errors.add)
    for result in _output.progress_bar(results, len(images), quiet=args.quiet):
        sample, confidences[result.path] = _to_sample(result)
        samples.append(sample)
    dataset = Dataset(samples, tuple(detector.names), source=args.model)
    _writing.write(args, {"train": dataset}, args.output, args.to, confidences=confidences)
    return errors.status()


def _to_sample(result: Results) -> tuple[Sample, npt.NDArray[np.float64]]:
    """The boxes of an image, each with its best class, and their scores."""
    import numpy as np

    from ...data.dataset import Sample
    from ...data.labels import empty_targets

    boxes = result.clip().cpu().boxes
    best = [rows[0] for rows in boxes.by_box()]
    targets = np.concatenate((boxes.xywhn.numpy(), boxes.cls.numpy()[:, None]), axis=1).astype(np.float32)[best]
    kept = (targets[:, 2:4] > 0).all(axis=1)
    scores = boxes.conf.numpy()[best].astype(np.float64).round(4)
    return Sample(result.path, targets[kept], empty_targets()), scores[kept]
