"""The numbers of an iteration: loss, rate, speed, and those of each layer with a loss."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LayerMetrics = Mapping[int, Mapping[str, float]]  # by layer number, then by name


@dataclass(frozen=True)
class IterationMetrics:
    """The numbers of one iteration.

    Attributes:
        iteration: Number of updates made.
        loss: Loss per image.
        average_loss: Its running average.
        lr: The learning rate.
        seconds: Duration of the iteration.
        images: Images trained on so far.
        images_per_second: Average since the start of the run.
        hours_left: Estimate until max_batches.
        layers: The numbers of each layer with a loss.
        mini_batches: The same for each mini-batch.
    """

    iteration: int
    loss: float
    average_loss: float
    lr: float
    seconds: float
    images: int
    images_per_second: float
    hours_left: float
    layers: LayerMetrics = field(default_factory=dict)
    mini_batches: Sequence[LayerMetrics] = ()

    def lines(self) -> str:
        """The lines to print, as Darknet does."""
        rows = [f"  layer {layer}: {_format_metrics(metrics)}" for layer, metrics in self.layers.items()]
        text = f"{self.iteration}: {self.loss:.6f}, {self.average_loss:.6f} avg loss, {self.lr:.6g} rate, "
        text += f"{self.seconds:.6f} seconds, {self.images} images, {self.hours_left:.2f} hours left, "
        text += f"{self.images_per_second:.1f} images/s"
        return "\n".join((*rows, text))

    def scalars(self) -> dict[str, float]:
        """What is plotted over iterations, by name; ``layer LAYER/NAME`` for each number of a layer."""
        values = {"loss": self.loss, "avg_loss": self.average_loss, "lr": self.lr}
        values |= {"seconds": self.seconds, "images_per_second": self.images_per_second}
        return values | {
            f"layer {layer}/{name}": value for layer, numbers in self.layers.items() for name, value in numbers.items()
        }


class Throughput:
    """Speed of a run: images per second since its start, and from it the time left."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._iterations = 0

    def update(self) -> None:
        """Count an iteration."""
        self._iterations += 1

    def images_per_second(self, images_per_iteration: int) -> float:
        """Average since the start."""
        return images_per_iteration * self._iterations / max(time.monotonic() - self._start, 1e-9)

    def hours_left(self, iteration: int, max_batches: int) -> float:
        """Time until ``max_batches`` at the average speed so far; 0 if training has no end."""
        seconds = time.monotonic() - self._start
        return (max_batches - iteration) * seconds / self._iterations / 3600 if max_batches else 0.0


def merge_mini_batches(metrics: Sequence[LayerMetrics]) -> dict[int, dict[str, float]]:
    """The numbers of an iteration's mini-batches as one: their mean, but the sum of each "count"."""
    merged: dict[int, dict[str, float]] = {}
    for layer, names in (metrics[0] if metrics else {}).items():
        columns = {name: [mini_batch[layer][name] for mini_batch in metrics] for name in names}
        merged[layer] = {
            name: sum(values) if name == "count" else sum(values) / len(values) for name, values in columns.items()
        }
    return merged


def _format_metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.{0 if name == 'count' else 4}f}" for name, value in metrics.items())
