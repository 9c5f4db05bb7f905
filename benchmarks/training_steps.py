#!/usr/bin/env python3
"""Compare the CPU time of a training iteration with that of a plain torch loop over the same network.

    python benchmarks/training_steps.py [CFG[:BATCH[:SIZE]] ...] [--threads 1] [--repeats 8]

`Trainer.step` makes a whole iteration: forward pass, Darknet's losses, backward pass and update, on images and targets
in memory. The plain loop has SGD with momentum and weight decay, and the mean square of the outputs as its loss. Both
run with channels-last maps, the default of `darknet-py train` on a CPU, and without, in turns; a column is the median
of their CPU seconds. An iteration reads and augments no images.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from darknet_py import Network, Trainer, UnusedOptionWarning, keep_freed_memory
from darknet_py.training.resume import build_network

CFGS = pathlib.Path(__file__).parents[1] / "cfgs"
NETWORKS = "yolov4-tiny.cfg:8", "digits.cfg:16"
COLUMNS = "plain loop", "plain loop, channels-last", "contiguous", "channels-last"
OBJECTS = 7  # of an image
VALUES = {"subdivisions": "1", "max_batches": "100000", "burn_in": "0", "learning_rate": "0.00001"}


def main() -> int:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="CFG[:BATCH[:SIZE]]", default=NETWORKS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    warnings.simplefilter("ignore", UnusedOptionWarning)
    print("| CPU seconds of an iteration |", " | ".join(COLUMNS), "| channels-last / plain loop |")
    print("|" + "---|" + "---:|" * (len(COLUMNS) + 1))
    for text in args.networks:
        print(row(text, args.repeats), flush=True)
    return 0


def row(text: str, repeats: int) -> str:
    """Measure one network and return its row."""
    name, batch, size = (text.split(":") + ["8", ""][text.count(":") :])[:3]
    path = pathlib.Path(name) if pathlib.Path(name).exists() else CFGS / name
    values = VALUES | {"batch": batch} | ({"width": size, "height": size} if size else {})

    def build() -> Network:
        return build_network(path, values=values, seed=0)

    formats = {"": torch.contiguous_format, "channels-last": torch.channels_last}
    runs: dict[str, Callable[[], object]] = {}
    for label, memory_format in formats.items():
        images = random_images(build()).contiguous(memory_format=memory_format)
        runs[f"plain loop, {label}".removesuffix(", ")] = plain_loop(build(), images, memory_format)
        runs[label or "contiguous"] = trainer(build(), images, memory_format)
    seconds: dict[str, list[float]] = {label: [] for label in runs}
    for repeat in range(repeats + 1):
        for label, run in runs.items():
            start = time.process_time()
            run()
            if repeat:  # the first is a warm-up
                seconds[label].append(time.process_time() - start)
    medians = {label: statistics.median(values) for label, values in seconds.items()}
    cells = [f"{medians[column]:.3f}" for column in COLUMNS]
    ratio = medians["channels-last"] / medians["plain loop"]
    return (
        f"| {path.stem}, {batch} images of {images.shape[3]} x {images.shape[2]} | {' | '.join(cells)} | {ratio:.2f} |"
    )


def random_images(network: Network) -> Tensor:
    """Return a batch of noise, float32 [batch, channels, height, width]."""
    return torch.rand(network.options.batch, *network.shape, generator=torch.Generator().manual_seed(0))


def plain_loop(network: Network, images: Tensor, memory_format: torch.memory_format) -> Callable[[], object]:
    """Return a function that makes an iteration of a plain torch loop."""
    network.train().to(memory_format=memory_format)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.stack([y.square().mean() for y in network(images)]).sum()
        loss.backward()
        optimizer.step()

    return run


def trainer(network: Network, images: Tensor, memory_format: torch.memory_format) -> Callable[[], object]:
    """Return a function that makes an iteration of ``Trainer``."""
    network.to(memory_format=memory_format)  # type: ignore[call-overload]
    trainer = Trainer(network)
    targets = random_targets(network, len(images))
    return lambda: trainer.step([(images, targets)])


def random_targets(network: Network, batch: int) -> Tensor | list[Tensor]:
    """Return a one-hot class of each image for a classifier, else boxes and classes [OBJECTS, 5] of each image."""
    generator = torch.Generator().manual_seed(1)
    if not network.heads:
        classes = network[-1].shape.floats
        numbers = torch.randint(classes, (batch,), generator=generator)
        return torch.nn.functional.one_hot(numbers, classes).float()
    boxes = torch.rand(batch, OBJECTS, 5, generator=generator) * torch.tensor([0.8, 0.8, 0.3, 0.3, 0.0]) + 0.1
    boxes[..., 4] = torch.randint(min(head.classes for head in network.heads), (batch, OBJECTS), generator=generator)
    return list(boxes)


if __name__ == "__main__":
    raise SystemExit(main())
