"""``AutoEngine``: starts with torch, and changes to the fastest engine that is installed once that pays.

It decides for each batch size on its own, on a CPU, once ``IMAGES`` images of that size have been asked for: it takes
the choice of an earlier trial (``engine_choice``) or makes one. A known choice is taken from the first image on if the
converted network is in the cache; torch is not even opened then. Where nothing can be kept in the cache torch stays, as
each process would convert the network again. After a change of the weights it starts again with torch, so that a
network that is being trained is not converted for each evaluation. ``DARKNET_PY_ENGINE`` names the engine instead,
without a trial.
"""

from __future__ import annotations

import collections
import functools
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ..errors import DarknetError
from ..messages import get_logger
from ..network import Network
from .engine_cache import can_keep, is_converted
from .engine_choice import Engine, EngineChoice, load_choice, save_choice, try_engines
from .fused_network import FusedNetwork
from .weight_tracker import WeightTracker, untracked

IMAGES = 20  # after which a trial, and conversions, pay
VARIABLE = "DARKNET_PY_ENGINE"
_FIRST = "torch"
_COMPILED = "graph"  # by each process again

_log = get_logger(__name__)


class AutoEngine:
    """The fastest engine for a stateless network on a CPU. It may be called from several threads.

    Args:
        network: The network.
        candidates: Functions that open the engines, by name, with ``torch`` among them.
        dtype: Precision, for the key of the choice.
        reload: Loads the network again, if nobody else uses it, see ``FusedNetwork``: ``torch`` frees the plain
            weights, and they are loaded again for a trial and for other engines.

    Raises:
        DarknetError: DARKNET_PY_ENGINE is none of the candidates.
    """

    def __init__(
        self,
        network: Network,
        candidates: Mapping[str, Callable[..., Engine]],
        dtype: str = "fp32",
        reload: Callable[[], Network] | None = None,
    ) -> None:
        self.network = network
        self.candidates = candidates
        self.dtype = dtype
        self._named = os.environ.get(VARIABLE, "")
        if self._named and self._named not in candidates:
            raise DarknetError(f"{VARIABLE}: expected one of {', '.join(candidates)}, got {self._named!r}")
        self._lock = threading.RLock()
        self._reload = reload
        self._engines: dict[str, Engine] = {}
        # Nobody else can change the weights of a network that can be loaded again, and looking takes 0.1 ms.
        self._tracker = WeightTracker(network) if reload is None else None
        self._restart()

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Compute the heads' outputs."""
        engine = self._find(images)
        try:
            return engine(images)
        except DarknetError as error:  # some engines compile at the first call
            return self._leave(engine, len(images), error)(images)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the network; the copy decides for itself."""
        self.restore()
        return type(self), (self.network, self.candidates, self.dtype)

    def restore(self) -> None:
        """Load the weights again that ``torch`` has freed, and keep them from now on. Raises WeightsError."""
        with self._lock:
            self._keep_weights()
            if self._tracker is None:
                self._tracker = WeightTracker(self.network)

    def choose(self, images: Tensor) -> EngineChoice:
        """Make the trial for batches like ``images`` now, and keep its result for this machine.

        Args:
            images: float32 [batch, channels, height, width] in 0..1, of the network's size.
        """
        with self._lock:
            self._keep_weights()
            return self._choose(images)

    def engine_for(self, batch: int) -> str:
        """Return the name of the engine that computes batches of this size."""
        return self._names.get(batch, _FIRST)

    def _restart(self) -> None:
        self._engines = {name: engine for name, engine in self._engines.items() if name == _FIRST}
        self._names: dict[int, str] = {}
        self._images: collections.Counter[int] = collections.Counter()

    def _find(self, images: Tensor) -> Engine:
        batch = len(images)
        is_usual = images.dim() == 4 and tuple(images.shape[1:]) == tuple(self.network.shape)
        with self._lock:  # other threads wait for a trial, which they would disturb
            if not is_usual or images.device.type != "cpu":
                return self._opened(_FIRST)  # it runs at every size
            if self._tracker is not None and self._tracker.changed():
                self._tracker.update()
                self._restart()
            if batch not in self._names:
                self._decide(images)
            return self._opened(self.engine_for(batch))

    def _opened(self, name: str) -> Engine:
        """Return an engine, which is opened when it is needed first: packing the weights takes time and memory."""
        if name not in self._engines:
            if name != _FIRST:
                self._keep_weights()
            options = {} if self._reload is None else {"reload": self._reload}
            # Changed weights are detected here, for all engines at once.
            self._engines[name] = untracked(self.candidates[name](**options))
        return self._engines[name]

    def _leave(self, engine: Engine, batch: int, error: DarknetError) -> Engine:
        """Return torch, for batches of this size, instead of an engine that has failed. Raises ``error`` for torch."""
        with self._lock:
            if engine == self._engines.get(_FIRST):
                raise error
            _log.warning("%s: torch is used", error)
            self._names[batch] = _FIRST
            return self._opened(_FIRST)

    def _keep_weights(self) -> None:
        """Load the weights again that ``torch`` has freed; from now on it frees none."""
        first = self._engines.get(_FIRST)
        if isinstance(first, FusedNetwork):
            first.restore()
        self._reload = None

    def _decide(self, images: Tensor) -> None:
        """Choose an engine for batches of this size if it is time to."""
        batch = len(images)
        is_first = batch not in self._images
        self._images[batch] += batch
        is_due = self._images[batch] >= IMAGES
        if self._named:
            self._open(batch, self._named)
        elif is_first or is_due:
            choice = load_choice(self.network, batch, self.dtype)
            name = choice.engine if choice is not None and choice.engine in self.candidates else None
            if name is None and not is_due:
                return
            if name != _FIRST and not self._may_leave_torch(is_chosen=name is not None):
                name = _FIRST
            if name is None:
                self._choose(images)
            elif is_due or name == _FIRST or (name != _COMPILED and is_converted(self.network, name)):
                self._open(batch, name)

    def _may_leave_torch(self, *, is_chosen: bool) -> bool:
        """Whether another engine can be tried or opened; the plain weights, which that needs, are loaded again.

        ``is_chosen``: whether there is a choice, so that none has to be made and kept.
        """
        if len(self.candidates) == 1:
            return False
        if not is_chosen and not can_keep():
            _log.info("engine auto: torch is used: a choice could not be kept in the cache (DARKNET_PY_HOME)")
            return False
        try:
            self._keep_weights()
        except DarknetError as error:
            _log.warning("%s: torch is used", error)
            return False
        return True

    def _choose(self, images: Tensor) -> EngineChoice:
        candidates = {name: functools.partial(self._opened, name) for name in self.candidates}
        choice = try_engines(self.network, candidates, images)
        save_choice(choice, self.network, len(images), self.dtype)
        _log.info("engine auto: %s for batches of %d: %s", choice.engine, len(images), _describe(choice))
        self._names[len(images)] = choice.engine
        kept = {_FIRST, *self._names.values()}
        self._engines = {name: engine for name, engine in self._engines.items() if name in kept}
        return choice

    def _open(self, batch: int, name: str) -> None:
        """Use an engine for batches of this size; torch if it cannot be opened."""
        try:
            self._opened(name)
        except DarknetError as error:
            if name == _FIRST:
                raise
            _log.warning("%s: torch is used", error)
            name = _FIRST
        self._names[batch] = name


def _describe(choice: EngineChoice) -> str:
    return ", ".join(f"{name} {ms:.1f} ms" for name, ms in sorted(choice.ms.items(), key=lambda item: item[1]))
