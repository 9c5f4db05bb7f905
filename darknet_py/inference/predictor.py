"""``Predictor``: a network and the engine that runs it, the base of ``Detector`` and ``Classifier``."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection, Generator, Iterable
from typing import Any, Self, TypeVar

import torch

from ..images.prefetch import map_interleaved, map_prefetched, take_batches
from ..network import Network
from ..weights import warn_of_random_weights
from .auto_engine import AutoEngine
from .engines import Engine, create_engine
from .exported_model import OpenedModel
from .fused_network import FusedNetwork

_READ = 8  # images for each thread that are read in one go, where reading and the network take turns

SourceT = TypeVar("SourceT")
LoadedT = TypeVar("LoadedT")
T = TypeVar("T")

_lock = threading.Lock()  # of all predictors, so that they can be copied: an engine is built once, and by one thread


class Predictor:
    """A network and the engine that runs it.

    The engines ``torch`` and ``auto`` pack the weights. Those of a network that was given as a name or a
    ``NetworkLoader``, which nobody else uses, are freed meanwhile, layer by layer; ``network`` loads them again.
    """

    engine: str | Engine
    dtype: str
    batch_size: int
    _network: Network
    _reload: Callable[[], Network] | None

    def _open(self, model: OpenedModel, dtype: str) -> None:
        """Take a model, which is run in the precision ``dtype``."""
        self._network, self._reload = model.network, model.reload
        self.engine = model.engine
        self.dtype = dtype

    @property
    def network(self) -> Network:
        """The network with its weights, which are loaded again if they were freed, and stay.

        Raises:
            WeightsError: their file has changed since, or cannot be read.
        """
        with _lock:
            run = vars(self).get("run")
            if self._reload is not None and isinstance(run, FusedNetwork | AutoEngine):
                run.restore()
            self._reload = None
        return self._network

    @network.setter
    def network(self, network: Network) -> None:
        self._network, self._reload = network, None
        vars(self).pop("run", None)

    @property
    def architecture(self) -> Network:
        """The network for its layers, shapes and options: its weights may have been freed."""
        return self._network

    @functools.cached_property
    def run(self) -> Engine:
        """The engine that computes the heads' outputs, built on first use."""
        with _lock:
            built = vars(self)
            if "run" not in built:  # by another thread meanwhile
                warn_of_random_weights(self._network)
                built["run"] = create_engine(self._network, self.engine, dtype=self.dtype, reload=self._reload)
            engine: Engine = built["run"]
            return engine

    def refresh(self) -> None:
        """Use the network's current weights after changes that the engine does not detect, see ``WeightTracker``.

        Needed only after writing through ``parameter.data`` or a numpy array that shares memory with a parameter.
        """
        self.network  # noqa: B018 (with its weights)
        vars(self).pop("run", None)

    def reset(self) -> None:
        """Clear the state of recurrent layers: the next image is the first of a sequence."""
        self._network.reset()

    def _compute_batches(
        self,
        load: Callable[[SourceT], LoadedT],
        compute: Callable[[list[LoadedT]], T],
        sources: Iterable[SourceT],
        workers: int | None,
        most: int,
    ) -> Generator[T]:
        """Load images on threads, and yield what ``compute`` returns for lists of them, of one batch or several.

        Args:
            load: loads an image.
            compute: called with the results of ``load``.
            sources: the images.
            workers: threads, see ``Detector.stream``.
            most: images in a list of several batches.
        """
        if workers is None and isinstance(sources, Collection) and not self._is_on_gpu:
            threads = torch.get_num_threads()
            count = max(1, min(most, _READ * threads) // self.batch_size) * self.batch_size
            loaded = map_interleaved(load, sources, threads, count)
        else:
            workers = 1 if workers is None else workers
            count = self.batch_size
            loaded = map_prefetched(load, sources, workers, depth=2 * count * max(1, workers))
        yield from map(compute, take_batches(loaded, count))

    @property
    def _is_on_gpu(self) -> bool:
        return any(parameter.is_cuda for parameter in self._network.parameters())

    def _share(self) -> Self:
        """Return a copy that has the same network and engine."""
        self.run  # noqa: B018 (the copy uses it)
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle the network with its weights."""
        self.network  # noqa: B018 (with its weights)
        return vars(self)
