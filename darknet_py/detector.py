"""``Detector``: images in, boxes out, as Darknet's ``detector test`` does it.

An image is stretched to the network's input unless it shall be letterboxed (AlexeyAB: ``letter_box=1``
or a flag; pjreddie: always). The boxes of all heads are decoded, suppressed together by the last head's
rule, class by class, and brought back to the image. They are not clipped to it.
"""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, overload

import torch
from torch import Tensor

from ._typing import StrPath
from .boxes import RawDetections, batched_nms, undo_letterbox
from .cfg import Dialect
from .data import data_file
from .errors import DataError
from .images import reading
from .images.prefetch import ahead, in_turns
from .images.reading import Source
from .inference import engines
from .layers import DecodeOptions
from .network import Network
from .results.results import Results, from_raw

Names = StrPath | Sequence[str] | None


def read_names(names: Names, classes: int, *, exact: bool = True) -> list[str]:
    """Class names from a file of one a line, or a sequence; their numbers where there are none.

    Raises DataError where there are not as many as classes, unless not ``exact``.
    """
    if names is None:
        return [str(number) for number in range(classes)]
    if isinstance(names, str | os.PathLike):
        source, words = f"{os.fspath(names)}: ", list(data_file.read_names(names))
    else:
        source, words = "", list(names)
    if exact and len(words) != classes:
        raise DataError(f"{source}{len(words)} class names, but the network has {classes} classes")
    return words


class _Loaded(NamedTuple):
    """An image, where it is from, and how long it took to read."""

    path: str
    image: reading.ImageArray
    seconds: float


class Detector:
    """Finds objects in images with a network that has detection heads.

    ``names``: a file or sequence of class names; None: the network's own. ``threshold``: lowest probability
    of a class (0..1).
    ``nms``: overlap above which the weaker of two boxes of a class goes (0: none goes).
    ``letterbox``: keep the images' aspect; None: as the cfg says. ``hierarchy``: how sure a class of a
    tree must be. ``mapped``: report a tree's classes by the numbers of the head's ``map=`` file.
    ``batch``: images that go through the network together. ``engine`` and ``dtype``: what computes them, see
    ``engines``; ``plain`` runs the layers one by one.
    """

    def __init__(
        self,
        network: Network,
        *,
        names: Names = None,
        threshold: float = 0.25,
        nms: float = 0.45,
        letterbox: bool | None = None,
        hierarchy: float = 0.5,
        mapped: bool = False,
        batch: int = 1,
        engine: str | engines.Run = "torch",
        dtype: str = "fp32",
    ) -> None:
        if not network.heads:
            raise DataError("the network has no detection head: expected one that makes boxes")
        for name, value in (("threshold", threshold), ("nms", nms)):
            if not 0 <= value <= 1:
                raise DataError(f"{name}: expected 0..1, got {value}")
        if batch < 1:
            raise DataError(f"batch: expected 1 or more, got {batch}")
        self.network, self.nms, self.batch_size = network, nms, batch
        self.which = DecodeOptions(threshold, hierarchy, mapped)
        given = network.names or None if names is None else names
        self.names = read_names(given, network.heads[-1].classes, exact=not mapped)
        if letterbox is None:
            letterbox = network.options.letter_box or network.dialect is Dialect.PJREDDIE
        self.letterbox = letterbox
        self.engine, self.dtype = engine, dtype

    @functools.cached_property
    def run(self) -> engines.Run:
        """What computes the heads' outputs, made at its first use."""
        return engines.engine(self.network, self.engine, dtype=self.dtype)

    @property
    def _on_gpu(self) -> bool:
        return any(parameter.is_cuda for parameter in self.network.parameters())

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the network's input."""
        return self.network.shape.width, self.network.shape.height

    @overload
    def __call__(self, source: Source) -> Results: ...
    @overload
    def __call__(self, source: list[Source]) -> list[Results]: ...
    def __call__(self, source: Source | list[Source]) -> Results | list[Results]:
        """Boxes of one image (a path, a PIL image or an array [height, width, 3] of uint8) or of a list.

        Raises DataError for an image that cannot be read.
        """
        if isinstance(source, list):
            return list(self.stream(source))
        return next(self.stream([source], workers=0))

    def stream(self, sources: Iterable[Source], *, workers: int | None = None) -> Iterator[Results]:
        """Results one by one, worked out ``batch`` images at a time.

        ``workers``: threads that read the next images while the network computes; 0: read when it is their turn.
        None: one for a network on a GPU, or ``sources`` that come by and by; on a CPU, which the network keeps busy,
        as many as torch has, in turns with it.
        """
        if workers is None and isinstance(sources, Collection) and not self._on_gpu:
            threads = torch.get_num_threads()
            loaded = in_turns(self._loaded, sources, threads, max(self.batch_size, 8 * threads))
        else:
            workers = 1 if workers is None else workers
            loaded = ahead(self._loaded, sources, workers, depth=2 * self.batch_size * max(1, workers))
        while group := list(itertools.islice(loaded, self.batch_size)):
            yield from self._group(group)

    def _loaded(self, source: Source) -> _Loaded:
        started = time.perf_counter()
        image = reading.load(source, self.network.shape.channels)
        path = os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "filename", "")
        return _Loaded(path, image, time.perf_counter() - started)

    def _group(self, group: Sequence[_Loaded]) -> Iterator[Results]:
        started = time.perf_counter()
        x = torch.stack([reading.prepare(loaded.image, self.size, self.letterbox) for loaded in group])
        x = x.to(next(self.network.parameters(), x))  # device and precision
        prepared = time.perf_counter()
        with torch.inference_mode():
            outputs = self.run(x)
            computed = time.perf_counter()
            found = self._found(outputs, self.size, [loaded.image.shape[1::-1] for loaded in group])
        shared = [t / len(group) for t in (prepared - started, computed - prepared, time.perf_counter() - computed)]
        for loaded, candidates in zip(group, found, strict=True):
            shape = loaded.image.shape[:2]
            results = from_raw(candidates, shape, names=self.names, path=loaded.path, image=loaded.image)
            times = (loaded.seconds + shared[0], *shared[1:])
            results.speed = dict(zip(_STAGES, (1000 * t for t in times), strict=True))
            yield results

    def batch(self, x: Tensor) -> list[Results]:
        """Boxes of images that are network inputs already: [batch, channels, height, width] in 0..1.

        The boxes are relative to the input.
        """
        size = (x.shape[3], x.shape[2]) if x.dim() == 4 else self.size
        with torch.inference_mode():
            found = self._found(self.run(x), size)
        return [from_raw(candidates, size[::-1], names=self.names) for candidates in found]

    def _found(
        self, outputs: Sequence[Tensor], size: tuple[int, int], images: Sequence[tuple[int, int]] = ()
    ) -> list[RawDetections]:
        """Decode and suppress: one set of boxes an image.

        As in C, suppression sees boxes relative to the image, whose width and height ``images`` gives:
        kinds that look at distances decide otherwise on a letterboxed input.
        """
        heads = self.network.heads
        by_head = [h.decode(output.float(), size, self.which) for h, output in zip(heads, outputs, strict=True)]
        merged = [RawDetections(*map(torch.cat, zip(*image, strict=True))) for image in zip(*by_head, strict=True)]
        if self.letterbox and images:
            merged = [
                candidates._replace(boxes=undo_letterbox(candidates.boxes, image, size))
                for candidates, image in zip(merged, images, strict=True)
            ]
        if self.nms:
            merged = [batched_nms(candidates, self.nms, heads[-1].nms_options) for candidates in merged]
        return merged


_STAGES = ("preprocess", "inference", "postprocess")
