"""What a run prints on stderr: messages, and the line of an iteration."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from .callbacks import Callback, EvaluationEvent, StartEvent, StepEvent
from .metrics import IterationMetrics

_PRINT_INTERVAL = 0.5  # seconds between printed iterations


class Console:
    """Prints lines on stderr until nobody reads them any more.

    Args:
        verbose: Whether to print.
    """

    def __init__(self, verbose: bool = True) -> None:
        self.verbose = verbose

    def message(self, text: str) -> None:
        """Print a line; after a failure, as of a closed pipe or terminal, print nothing from then on."""
        if self.verbose:
            try:
                sys.stderr.write(f"{text}\n")
                sys.stderr.flush()
            except (OSError, ValueError):  # a closed pipe or terminal; a closed stream
                self.verbose = False


class IterationPrinter(Callback):
    """Prints iterations, as Darknet does, and evaluations.

    The line is Darknet's: iteration, loss, average loss, rate, seconds, images, hours left, followed by images per
    second; above it the numbers of each layer with a loss. Of iterations that are faster than two a second not all are
    printed. A run that is given a callback of this class prints by that one.

    Args:
        console: Where to; None: stderr.
        line: Called with the numbers of every iteration, instead of printing them.
    """

    def __init__(
        self, console: Console | None = None, *, line: Callable[[IterationMetrics], object] | None = None
    ) -> None:
        self._console = console or Console()
        self._line = line
        self._max_batches = 0
        self._printed_at = 0.0

    def on_start(self, event: StartEvent) -> None:
        """Note where the run ends."""
        self._max_batches = event.max_batches

    def on_step(self, event: StepEvent) -> None:
        """Print the iteration, unless another was printed less than half a second ago."""
        metrics = event.metrics
        if self._line is not None:
            self._line(metrics)
            return
        now = time.monotonic()
        if now - self._printed_at >= _PRINT_INTERVAL or metrics.iteration == self._max_batches:
            self._printed_at = now
            self._console.message(metrics.lines())

    def on_evaluation(self, event: EvaluationEvent) -> None:
        """Print the score."""
        self._console.message(f"  {event.name} {event.score:.2%} at iteration {event.iteration}, best {event.best:.2%}")
