"""``Detector``: images in, boxes out, as Darknet's ``detector test``.

An image is stretched to the network's input unless it is letterboxed, see ``postprocess.uses_letterbox``. The boxes of
all heads are decoded, converted to coordinates of the image and pass class-wise NMS together.
They are not clipped to the image.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, overload

import torch
from torch import Tensor

from .boxes import NMSKind, RawDetections
from .data.class_names import ClassNames, class_numbers, resolve_class_names, selected_classes
from .errors import DataError, did_you_mean
from .images import resizing
from .images.limits import MAX_PIXELS
from .images.prefetch import catch_errors, drop_errors, restore_errors, take_batches, without_errors
from .images.reading import ImageArray, ImageSource, read_image
from .inference import engines
from .inference.exported_model import ModelSource, form_of, open_model
from .inference.predictor import Predictor
from .layers import DecodeOptions
from .network import evaluating
from .postprocess import Selection, concatenate_outputs, nms_options, postprocess_outputs, require_heads, uses_letterbox
from .results.results import Results, from_raw


class _LoadedImage(NamedTuple):
    """A decoded image with its path and the seconds it took to read."""

    path: str
    image: ImageArray
    seconds: float


class _Computed(NamedTuple):
    """What the network has computed for some images.

    ``images`` has errors in the places of those that could not be read. ``outputs`` and ``seconds``, of preprocessing
    and inference, are those of the others.
    """

    images: Sequence[_LoadedImage | DataError]
    outputs: list[Tensor]
    seconds: list[tuple[float, float]]


SourceT = TypeVar("SourceT", bound=ImageSource)

_DECODED = 2**23  # values of outputs that are decoded in one go, where they are not of one batch
_STAGES = ("preprocess", "inference", "postprocess")
_OPTIONS = frozenset(
    (
        *("network", "threshold", "nms", "nms_kind", "names", "letterbox", "batch_size", "options", "selection"),
        *("max_detections", "engine", "dtype", "read_image", "run", "_network", "_reload"),
    )
)


class Detector(Predictor):
    """Detect objects in images with a network that has detection heads.

    With recurrent layers, images are frames of a sequence, in their order and whatever the batch size. Every ``stream``
    and list of images starts a new one; calls with single images continue it until ``reset``. The state is that of the
    network, so that interleaved sequences need a copy of it each (``copy.deepcopy``).

    Args:
        network: a network with weights, see ``network.unwrap``, which is left as it was; a name of the catalogue, whose
            weights are downloaded once; a ``loading.NetworkLoader``; or an exported file (.onnx, .xml, .tflite, ...),
            see ``ExportedModel``, which is run by its own runtime.
        names: class names, as a file or a sequence; None: the network's own, else numbers.
        threshold: a class probability must be above this, 0..1.
        class_thresholds: other thresholds for some classes, by name or number.
        classes: report these classes only, by name or number.
        skip_classes: do not report these classes.
        nms: IoU threshold of class-wise NMS, 0..1; 0 disables it.
        nms_kind: kind of NMS, see ``boxes.NMSKind``; None: ``nms_kind=`` of the last head.
        agnostic_nms: report the most probable class of a box only, and let NMS compare boxes of different classes.
        max_detections: report this many rows of an image at most, those of highest confidence; 0: all.
        letterbox: keep the images' aspect ratio; None: as the cfg and dialect say.
        hierarchy: with a class tree, the probability above which a class is descended into (Darknet's ``-hier``).
        class_map: with a class tree, report the classes of the head's ``map=`` file instead of the tree's own.
        batch: images per forward pass.
        engine: inference engine, see ``inference.engines``; ``plain`` runs the layers one by one.
        dtype: precision of the engine, see ``inference.engines``.
        exif: rotate images as their EXIF orientation says.
        max_pixels: refuse image files with more pixels.

    Raises:
        DataError: the network has no detection head, an argument is out of range, or there are too few or too many
            names.
    """

    def __init__(
        self,
        network: ModelSource,
        *,
        names: ClassNames = None,
        threshold: float = 0.25,
        class_thresholds: Mapping[str | int, float] | None = None,
        classes: Iterable[str | int] | None = None,
        skip_classes: Iterable[str | int] = (),
        nms: float = 0.45,
        nms_kind: NMSKind | str | None = None,
        agnostic_nms: bool = False,
        max_detections: int = 0,
        letterbox: bool | None = None,
        hierarchy: float = 0.5,
        class_map: bool = False,
        batch: int = 1,
        engine: str | engines.Engine = engines.DEFAULT,
        dtype: str = "fp32",
        exif: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        model = open_model(network, engine, letterbox)
        network, file = model.network, model.file
        heads = require_heads(network)
        thresholds = dict(class_thresholds or {})
        named = ((f"class_thresholds[{key!r}]", value) for key, value in thresholds.items())
        for name, value in (("threshold", threshold), ("nms", nms), *named):
            _require_fraction(name, value)
        _require_count("max_detections", max_detections)
        if batch < 1:
            raise DataError(f"batch: expected 1 or more, got {batch}")
        if file is not None:
            file.check_options(min([threshold, *thresholds.values()]), class_map)
        self._open(model, dtype)
        self.nms = nms
        self.nms_kind = nms_options(network, nms_kind).kind
        self.batch_size = batch
        self.max_detections = max_detections
        self.options = DecodeOptions(min([threshold, *thresholds.values()]), hierarchy, class_map)
        given = network.names or None if names is None else names
        self.names = resolve_class_names(given, heads[-1].classes, exact=not class_map)
        self.selection = self._select(threshold, thresholds, classes, skip_classes, agnostic_nms)
        self.letterbox = uses_letterbox(network, model.letterbox)
        self.read_image = functools.partial(
            read_image, channels=network.shape.channels, exif=exif, max_pixels=max_pixels
        )

    def _select(
        self,
        threshold: float,
        thresholds: Mapping[str | int, float],
        classes: Iterable[str | int] | None,
        skip_classes: Iterable[str | int],
        agnostic: bool,
    ) -> Selection:
        by_number = dict.fromkeys(range(len(self.names)), threshold) if thresholds else {}
        by_number |= dict(zip(class_numbers(thresholds, self.names), thresholds.values(), strict=True))
        return Selection(self._kept_classes(classes, skip_classes), by_number, agnostic)

    def _kept_classes(
        self, classes: Iterable[str | int] | None, skip_classes: Iterable[str | int]
    ) -> frozenset[int] | None:
        kept = frozenset(selected_classes(classes, skip_classes, self.names))
        return None if kept == set(range(len(self.names))) else kept

    def with_options(
        self,
        *,
        threshold: float | None = None,
        nms: float | None = None,
        classes: Iterable[str | int] | None = None,
        skip_classes: Iterable[str | int] = (),
        max_detections: int | None = None,
    ) -> Detector:
        """Return a detector with other options, which shares the network and its engine.

        Args:
            threshold: a threshold for all classes; None: as here.
            nms: IoU threshold of class-wise NMS, 0..1; 0 disables it; None: as here.
            classes: report these classes only, by name or number; None without ``skip_classes``: as here.
            skip_classes: do not report these classes.
            max_detections: most rows of an image; 0: all; None: as here.

        Raises:
            DataError: a value is out of range, or there is no such class.
        """
        other = self._share()
        if threshold is not None:
            other.threshold = threshold
        if nms is not None:
            _require_fraction("nms", nms)
            other.nms = nms
        if classes is not None or (skip_classes := tuple(skip_classes)):
            kept = self._kept_classes(classes, skip_classes)
            other.selection = dataclasses.replace(other.selection, classes=kept)
        if max_detections is not None:
            _require_count("max_detections", max_detections)
            other.max_detections = max_detections
        return other

    @property
    def threshold(self) -> float:
        """The value that a class probability must be above, 0..1."""
        return self.options.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        _require_fraction("threshold", value)
        self.options = dataclasses.replace(self.options, threshold=value)
        self.selection = dataclasses.replace(self.selection, thresholds={})

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an option. Raises AttributeError for a name that is none."""
        if name not in _OPTIONS:
            raise AttributeError(f"Detector has no option {name!r}{did_you_mean(name, _OPTIONS)}")
        if name in ("engine", "dtype") and "run" in vars(self):
            self.refresh()
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        width, height = self.size
        path = self._network.config.path or "network"
        return (
            f"Detector({path!r}, {width}x{height}, {len(self.names)} classes, threshold {self.threshold:g}, "
            f"nms {self.nms:g}, engine {self.engine!r})"
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the network's input in pixels."""
        return self._network.shape.width, self._network.shape.height

    @overload
    def __call__(  # type: ignore[overload-overlap]  # str and bytes are sequences, too: each is one image
        self, source: ImageSource, *, threshold: float | None = None
    ) -> Results: ...
    @overload
    def __call__(self, source: Sequence[SourceT], *, threshold: float | None = None) -> list[Results]: ...
    def __call__(
        self, source: ImageSource | Sequence[SourceT], *, threshold: float | None = None
    ) -> Results | list[Results]:
        """Detect objects in one image or a list of images.

        Args:
            source: an image, see ``images.reading.read_image``: a path, a URL, bytes, a PIL image, an array [height,
                width, 3] of uint8 in RGB order, ...; or a sequence of these.
            threshold: a threshold for this call; None: the detector's.

        Returns:
            ``Results`` with boxes relative to the image, one for each image.

        Raises:
            DataError: an image cannot be read.
        """
        if threshold is not None and threshold != self.threshold:
            return self.with_options(threshold=threshold)(source)
        if isinstance(source, Sequence) and not isinstance(source, str | bytes | bytearray | memoryview):
            return list(self.stream(source))
        return next(drop_errors(self._finish(self._compute([self._load(source)])), None))

    def stream(
        self,
        sources: Iterable[ImageSource],
        *,
        workers: int | None = None,
        on_error: Callable[[DataError], object] | None = None,
    ) -> Iterator[Results]:
        """Yield the results of each image, computed in batches of ``batch`` images.

        Args:
            sources: images, see ``__call__``.
            workers: threads that read the next images while the network computes; 0: read each when it is due.
                None: one for a network on a GPU or for sources that are not a collection, such as frames of a
                camera; on a CPU, which the network keeps busy, as many threads as torch uses take turns with it,
                and the boxes of up to eight images for each thread are computed together.
            on_error: called in its place with the error of an image that cannot be read, which has no results; None:
                the error is raised.
        """
        self.reset()
        most = _DECODED // max(1, sum(head.shape.floats for head in self._network.heads))
        batches = self._compute_batches(catch_errors(self._load), self._compute, sources, workers, most)
        with contextlib.closing(batches):
            for computed in batches:
                yield from drop_errors(self._finish(computed), on_error)

    def _load(self, source: ImageSource) -> _LoadedImage:
        started = time.perf_counter()
        image = self.read_image(source)
        path = os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "filename", "")
        if self.letterbox:
            try:
                resizing.letterboxed_size((image.shape[1], image.shape[0]), self.size)
            except DataError as error:
                raise DataError(f"{path or 'image'}: {error}") from error
        return _LoadedImage(path, image, time.perf_counter() - started)

    def _compute(self, images: Sequence[_LoadedImage | DataError]) -> _Computed:
        """Run the network on batches of images. Where one could not be read, there is a gap in its batch."""
        batches: list[list[Tensor]] = []
        seconds: list[tuple[float, float]] = []
        for batch in take_batches(images, self.batch_size):
            loaded = without_errors(batch)
            if not loaded:
                continue
            started = time.perf_counter()
            x = self.preprocess([each.image for each in loaded])
            prepared = time.perf_counter()
            with torch.inference_mode(), evaluating(self._network):
                outputs = self.run(x)
                if len(images) > self.batch_size and not isinstance(self.engine, str):
                    # An engine that is not of this package may overwrite them in its next call.
                    outputs = [output.clone() for output in outputs]
            computed = time.perf_counter()
            batches.append(outputs)
            seconds += [((prepared - started) / len(loaded), (computed - prepared) / len(loaded))] * len(loaded)
        return _Computed(images, concatenate_outputs(batches, form_of(self.run)), seconds)

    def _finish(self, computed: _Computed) -> Iterator[Results | DataError]:
        """Convert the outputs to results. Errors are returned in their places."""
        loaded = without_errors(computed.images)
        started = time.perf_counter()
        with torch.inference_mode(), evaluating(self._network):
            converted = self.postprocess(computed.outputs, [each.image.shape[:2] for each in loaded]) if loaded else []
        share = (time.perf_counter() - started) / max(1, len(loaded))
        for image, results, (preprocess, inference) in zip(loaded, converted, computed.seconds, strict=True):
            results.path, results.orig_img = image.path, image.image
            times = (image.seconds + preprocess, inference, share)
            results.speed = dict(zip(_STAGES, (1000 * t for t in times), strict=True))
        return restore_errors(computed.images, converted)

    def preprocess(self, images: Sequence[ImageArray]) -> Tensor:
        """Resize images, uint8 [H, W, channels], to the network's input.

        Returns:
            float32 [batch, channels, height, width] in 0..1, on the network's device: what ``run`` takes.
        """
        return self._to_device(
            torch.stack([resizing.prepare_input(image, self.size, self.letterbox) for image in images])
        )

    def postprocess(self, outputs: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]) -> list[Results]:
        """Convert what ``run`` returned to boxes.

        Args:
            outputs: one tensor for each head, whose first dimension is the batch.
            shapes: height and width of each image in pixels, before ``preprocess``.

        Returns:
            ``Results`` without an image, with boxes relative to the image, one for each image.
        """
        detections = postprocess_outputs(
            self._network,
            outputs,
            self.size,
            self.options,
            nms=self.nms,
            nms_kind=self.nms_kind,
            image_sizes=[(shape[1], shape[0]) for shape in shapes],
            letterbox=self.letterbox,
            selection=self.selection,
            form=form_of(self.run),
        )
        pairs = zip(detections, shapes, strict=True)
        return [self._to_results(of_image, (shape[0], shape[1])) for of_image, shape in pairs]

    def _to_results(self, detections: RawDetections, shape: tuple[int, int]) -> Results:
        results = from_raw(detections, shape, names=self.names)
        return results[: self.max_detections] if self.max_detections else results

    def _to_device(self, x: Tensor) -> Tensor:
        """Return images as engines take them: float32, on the network's device."""
        return x.to(next(self._network.parameters(), x).device, torch.float32, non_blocking=True)

    def batch(self, x: Tensor) -> list[Results]:
        """Detect objects in images that are already network inputs; with recurrent layers, in the next frames.

        Args:
            x: float [batch, channels, height, width] in 0..1, of any height and width the network accepts.

        Returns:
            ``Results`` with boxes relative to the network's input, one for each image.
        """
        size = (x.shape[3], x.shape[2]) if x.dim() == 4 else self.size
        with torch.inference_mode(), evaluating(self._network):
            outputs = self.run(self._to_device(x))
            detections = postprocess_outputs(
                self._network,
                outputs,
                size,
                self.options,
                nms=self.nms,
                nms_kind=self.nms_kind,
                selection=self.selection,
                form=form_of(self.run),
            )
        return [self._to_results(of_image, size[::-1]) for of_image in detections]


def _require_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise DataError(f"{name}: expected 0..1, got {value}")


def _require_count(name: str, value: int) -> None:
    if value < 0:
        raise DataError(f"{name}: expected 0 (all) or more, got {value}")
