#!/usr/bin/env python3
"""Measure training by several processes, and what it saves to sum gradients during the backward pass.

    python benchmarks/processes.py [CFG[:BATCH[:SIZE]] ...] [--processes 1 2 4] [--iterations 8] [--rounds 3]

Each process takes its share of a batch of random images with one target each. ``DDP`` is one step as ``Trainer``
makes it: forward, loss and backward through ``torch.nn.parallel.DistributedDataParallel``, whose buckets are summed
during the backward pass. ``all-reduce`` is the same step with one sum of all gradients after the backward pass. Both
alternate in the same processes, which use gloo and one thread each. ``sum`` is the share of the time of ``all-reduce``
that its sum takes, the most that overlapping can save; ``efficiency`` is the throughput per process of ``DDP``,
relative to one process. Each is the median over rounds of a mean over iterations. Needs an idle machine with a core for
each process.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from typing import Any

CFGS = pathlib.Path(__file__).parents[1] / "cfgs"
NETWORKS = ("yolov4-tiny.cfg:8:416", "yolov4.cfg:4:160")


def main() -> int:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="CFG[:BATCH[:SIZE]]", default=NETWORKS)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    from torch.multiprocessing.spawn import spawn

    os.environ["OMP_NUM_THREADS"] = "1"
    print("| network | processes | all-reduce, s | DDP, s | DDP / all-reduce | sum | images/s | efficiency |")
    print("|---|---|---|---|---|---|---|---|")
    for network in args.networks:
        name, batch, size = (*network.split(":"), "8", "416")[:3]
        single = 0.0
        for count in args.processes:
            if int(batch) % count:
                print(f"{network}: a batch of {batch} cannot be shared by {count} processes", file=sys.stderr)
                continue
            with tempfile.TemporaryDirectory() as folder:
                work = (count, name, int(batch), int(size), args.iterations, args.rounds, folder)
                spawn(measure, work, nprocs=count)
                plain, ddp, reduced = map(float, (pathlib.Path(folder) / "result").read_text().split())
            rate = int(batch) / ddp
            single = single or rate / count
            figures = f"{plain:.3f} | {ddp:.3f} | {ddp / plain:.2f} | {reduced / plain:.1%} | {rate:.2f}"
            print(f"| {name} {size} b{batch} | {count} | {figures} | {rate / count / single:.2f} |", flush=True)
    return 0


def measure(
    rank: int, world_size: int, name: str, batch: int, size: int, iterations: int, rounds: int, folder: str
) -> None:
    """Time both kinds of steps in one process; process 0 writes seconds per iteration into ``folder``."""
    import torch

    from darknet_py.distributed import ProcessGroup
    from darknet_py.layers import pad_targets
    from darknet_py.training import resume
    from darknet_py.training.options import TrainOptions
    from darknet_py.training.trainer import Trainer

    torch.set_num_threads(1)
    file_store: Any = torch.distributed.FileStore  # type: ignore[attr-defined]
    store = file_store(f"{folder}/store", world_size)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    group = ProcessGroup(rank, world_size)
    path = pathlib.Path(name)
    values = {"batch": str(batch), "subdivisions": "1"}
    network = resume.build_network(path if path.exists() else CFGS / path, values=values, size=(size, size))
    trainer = Trainer(network, options=TrainOptions(process_group=group))
    engine = trainer.engine
    share = batch // world_size
    images = torch.rand(share, *network.shape)
    targets = pad_targets([torch.tensor([[0.5, 0.5, 0.3, 0.3, 0.0]])] * share)

    context = replace(trainer._context(images, 0, 0, 1), targets=targets)
    with engine.training(0, group):

        def all_reduce() -> float:
            network.zero_grad()
            root = engine._forward_to_root(images, targets, context)
            assert root is not None
            root.backward()
            start = time.perf_counter()
            group.all_reduce_([p.grad for p in network.parameters() if p.grad is not None])
            return time.perf_counter() - start

        def overlapped() -> float:
            network.zero_grad()
            engine.run(images, targets, context)
            return 0.0

        results: dict[str, list[float]] = {"plain": [], "ddp": [], "sum": []}
        for number in range(rounds + 1):
            for kind, step in (("plain", all_reduce), ("ddp", overlapped)):
                torch.distributed.barrier()
                start, reduced = time.perf_counter(), 0.0
                for _ in range(iterations if number else 1):
                    reduced += step()
                if number:
                    results[kind].append((time.perf_counter() - start) / iterations)
                    if kind == "plain":
                        results["sum"].append(reduced / iterations)
    if rank == 0:
        (pathlib.Path(folder) / "result").write_text(" ".join(f"{statistics.median(v)}" for v in results.values()))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
