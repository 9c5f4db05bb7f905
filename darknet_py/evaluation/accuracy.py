"""Top-1 and top-k accuracy of a classifier (``classifier valid``).

The class of an image is the label in its path, see ``data.class_labels``; of several the first. An image without any
label counts as wrong.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._typing import StrPath
from ..cfg import Dialect
from ..classifier import num_classes, predict_probabilities, read_leaf_classes, require_classifier
from ..data.class_labels import match_labels
from ..data.data_file import read_data_file, read_names
from ..data.labels import Problem, log_problems
from ..distributed import ProcessGroup
from ..errors import DataError
from ..images import resizing
from ..images.limits import MAX_PIXELS
from ..images.prefetch import catch_errors, map_prefetched, take_batches
from ..images.reading import read_image
from ..inference import engines
from ..inference.exported_model import ModelSource, open_model
from ..network import Network, fresh_state
from ..text_files import read_list
from ..weights import warn_of_random_weights


class EvalTransform(enum.StrEnum):
    """Views of an image that the network sees (Darknet's commands of these names); their outputs are added.

    VALID: the centre crop of ``classifier predict``. CROP: the whole image, stretched. FULL: the whole image, its short
    side scaled to the network's width. MULTI: the whole image at five sizes, each also mirrored. TEN: five crops, each
    also mirrored.
    """

    VALID = "valid"
    CROP = "validcrop"
    FULL = "validfull"
    MULTI = "validmulti"
    TEN = "valid10"


@dataclass(frozen=True)
class Accuracy:
    """Accuracy on the images so far.

    Attributes:
        images: number of images.
        top1: fraction (0..1) of images whose class has the highest score.
        topk: fraction (0..1) of images whose class is among the ``k`` highest scores.
        k: that number.
    """

    images: int
    top1: float
    topk: float
    k: int

    def __str__(self) -> str:
        """Darknet's line."""
        return f"{self.images - 1}: top 1: {self.top1:f}, top {self.k}: {self.topk:f}"


def evaluate_accuracy(
    network: ModelSource,
    images: Sequence[str],
    labels: Sequence[str],
    *,
    k: int = 1,
    view: EvalTransform | str = EvalTransform.VALID,
    leaves: Tensor | None = None,
    batch: int = 8,
    workers: int = 2,
    engine: str | engines.Engine = engines.DEFAULT,
    dtype: str = "fp32",
    exif: bool = False,
    max_pixels: int = MAX_PIXELS,
    on_error: Callable[[DataError], object] | None = None,
    process_group: ProcessGroup | None = None,
) -> Iterator[Accuracy]:
    """Classify images and yield the accuracy after each; the last value is the result.

    Args:
        network: a classifier, or an exported file of one.
        images: paths of the images.
        labels: for each class, a string that occurs in the paths of its images; labels beyond the number of classes
            are ignored.
        k: a class among the ``k`` highest scores counts for ``topk``.
        view: crops and sizes of each image whose outputs are added.
        leaves: for a class tree, bool [classes], the classes that count, see ``classifier.read_leaf_classes``; None:
            those without children.
        batch: images per forward pass.
        workers: threads that read images.
        engine: inference engine, see ``inference.engines``.
        dtype: precision of the engine, see ``inference.engines``.
        exif: rotate images as their EXIF orientation says.
        max_pixels: refuse image files with more pixels.
        on_error: called with the error of an image that cannot be read, which counts as wrong; None: the error is
            raised.
        process_group: processes that share the images, each of which iterates over all values. Those before the last
            are of its own images; the main one logs what is wrong with labels.

    Raises:
        DataError: the network is not a classifier, there are fewer labels than classes, ``k`` is out of range, or an
            image cannot be read.
    """
    network, engine, _, _, reload = open_model(network, engine)
    require_classifier(network)
    classes = num_classes(network)
    if len(labels) < classes:
        raise DataError(f"{len(labels)} labels, but the network has {classes} classes")
    if not 1 <= k <= classes:
        raise DataError(f"top: expected 1..{classes}, got {k}")
    group = process_group or ProcessGroup()
    matches = [match_labels(path, labels[:classes]) for path in images]
    targets = [match.classes[0] if match.classes else -1 for match in matches]
    notes = (match.note(path, labels) for path, match in zip(images, matches, strict=True))
    log_problems(note for note in notes if note is not None and group.is_main)
    unlabelled = (path for path, target in zip(images, targets, strict=True) if target < 0 and group.is_main)
    kind = "images have no label in their path and count as wrong"
    log_problems(Problem(path, "none of the labels occurs in this path; counted as wrong", kind) for path in unlabelled)
    if targets and max(targets) < 0:
        raise DataError(
            f"nothing to evaluate: none of the {classes} labels occurs in the paths of {len(targets)} images"
        )
    own = group.indices(len(images), batch, is_sequence=network.stateful)
    targets = [targets[index] for index in own]
    transform = _make_transform(network, EvalTransform(view))
    run = engines.create_engine(network, engine, dtype=dtype, reload=reload)

    def read(path: str) -> list[Tensor]:
        image = read_image(path, network.shape.channels, exif=exif, max_pixels=max_pixels)
        return transform(resizing.to_tensor(image))

    loaded = map_prefetched(
        catch_errors(read), [images[index] for index in own], workers, depth=2 * max(batch, workers)
    )
    done = 0
    top1_hits = 0
    topk_hits = 0
    with fresh_state(network):
        for loaded_batch in take_batches(loaded, batch):
            for offset, views in enumerate(loaded_batch):
                if isinstance(views, DataError):
                    if on_error is None:
                        raise views
                    on_error(views)
                    targets[done + offset] = -1
            readable = [[] if isinstance(views, DataError) else views for views in loaded_batch]
            for probs in _sum_over_views(network, run, readable, leaves):
                best = probs.argsort(descending=True, stable=True)[:k].tolist()
                top1_hits += best[0] == targets[done]
                topk_hits += targets[done] in best
                done += 1
                yield Accuracy(done, top1_hits / done, topk_hits / done, k)
    if group.world_size > 1 and images:
        done, top1_hits, topk_hits = map(sum, zip(*group.all_gather((done, top1_hits, topk_hits)), strict=True))
        yield Accuracy(done, top1_hits / done, topk_hits / done, k)


def evaluate_accuracy_on_data(
    network: ModelSource, path: StrPath, *, k: int = 0, **kwargs: Any
) -> tuple[int, Iterator[Accuracy]]:
    """Evaluate a classifier on the ``valid`` list of a .data file, with its ``labels``, ``top`` and ``leaves``.

    Args:
        network: a classifier, or an exported file of one.
        path: the .data file.
        k: instead of ``top`` of the .data file; 0: use that.
        kwargs: passed to ``evaluate_accuracy``.

    Returns:
        The number of images, and the accuracy after each.

    Raises:
        DataError: a file cannot be read, or see ``evaluate_accuracy``.
    """
    model = open_model(network)
    network = model.network
    warn_of_random_weights(network)
    options = read_data_file(path)
    images, labels = read_list(options.get_path("valid")), read_names(options.get_path("labels"))
    leaves = read_leaf_classes(network, options.get_path("leaves")) if "leaves" in options.values else None
    k = k or options.get_int("top", 1)
    return len(images), evaluate_accuracy(model.source, images, labels, k=k, leaves=leaves, **kwargs)


def _sum_over_views(
    network: Network, run: engines.Engine, group: Sequence[list[Tensor]], leaves: Tensor | None
) -> Tensor:
    """Sum the probabilities of each image's views: float [images, classes]; views of one size form a batch."""
    sums = torch.zeros(len(group), num_classes(network), dtype=torch.float32, device="cpu")
    by_size: dict[torch.Size, list[tuple[int, Tensor]]] = {}
    for image, views in enumerate(group):
        for x in views:
            by_size.setdefault(x.shape, []).append((image, x))
    for rows in by_size.values():
        index = torch.tensor([image for image, _ in rows], device="cpu")
        x = torch.stack([view for _, view in rows])
        sums.index_add_(0, index, predict_probabilities(network, x, True if leaves is None else leaves, run))
    return sums


def _make_transform(network: Network, view: EvalTransform) -> Callable[[Tensor], list[Tensor]]:
    """Return a function from an image [channels, height, width] to its views."""
    width, height = network.shape.width, network.shape.height
    if view is EvalTransform.VALID and network.dialect is Dialect.PJREDDIE:
        return lambda image: [resizing.resize(_crop_square(image), width, height)]
    return {
        EvalTransform.VALID: lambda image: [resizing.centre_crop(image, width, height)],
        EvalTransform.CROP: lambda image: [resizing.resize(image, width, height)],
        EvalTransform.FULL: lambda image: [_resize_short_side(image, width)],
        EvalTransform.MULTI: lambda image: _add_mirrored([_resize_short_side(image, side) for side in _SIDES]),
        EvalTransform.TEN: lambda image: _ten_crops(
            resizing.resize(image, width + _SHIFT, height + _SHIFT), width, height
        ),
    }[view]


_SIDES = (224, 288, 320, 352, 384)  # of validmulti, in pixels
_SHIFT = 32  # of the crops of valid10, in pixels


def _crop_square(image: Tensor) -> Tensor:
    """Crop the central square of an image."""
    rows, columns = image.shape[1:]
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    return image[:, top : top + side, left : left + side]


def _resize_short_side(image: Tensor, side: int) -> Tensor:
    """Resize the whole image to a short side of ``side`` pixels (``resize_min``)."""
    rows, columns = image.shape[1:]
    if columns < rows:
        return resizing.resize(image, side, rows * side // columns)
    return resizing.resize(image, columns * side // rows, side)


def _add_mirrored(views: Sequence[Tensor]) -> list[Tensor]:
    return [*views, *(view.flip(2) for view in views)]


def _ten_crops(image: Tensor, width: int, height: int) -> list[Tensor]:
    """Crop five windows of the image and of its mirror image; four reach over an edge, whose pixels are repeated."""
    crops = []
    for source in (image, image.flip(2)):
        for dx, dy in ((-_SHIFT, -_SHIFT), (_SHIFT, -_SHIFT), (0, 0), (-_SHIFT, _SHIFT), (_SHIFT, _SHIFT)):
            rows = (torch.arange(height, device=source.device) + dy).clamp(0, source.shape[1] - 1)
            columns = (torch.arange(width, device=source.device) + dx).clamp(0, source.shape[2] - 1)
            crops.append(source.index_select(1, rows).index_select(2, columns))
    return crops
