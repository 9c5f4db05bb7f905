"""``ProcessGroup``: processes that train one network together, each on its share of every mini-batch.

torchrun starts them and says by environment variables who is who. The cfg's ``batch`` stays the number of
images per update, however many processes there are: of the ``batch / subdivisions`` images of every
mini-batch each takes consecutive ``1 / world``, and gradients are summed, as Darknet's are sums over images.
So a run by many makes the same steps as a run by one, but for batch norm, whose statistics are those of a
process's share unless ``synchronised``. (Darknet's -gpus lets every GPU train alone on a batch of its own, at a
higher rate, and averages the weights every fourth iteration.)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import DarknetError

T = TypeVar("T")


class ProcessGroup:
    """The processes of a training. ``ProcessGroup()`` is a process alone, ``ProcessGroup.join()`` one of torchrun's.

    ``rank``: 0, who writes files, to ``world`` - 1. ``local``: number of the process on its machine.
    ``synchronised``: batch norm takes its statistics from the mini-batch's images of all processes.
    """

    def __init__(self, rank: int = 0, world: int = 1, local: int = 0, *, synchronised: bool = False) -> None:
        self.rank, self.world, self.local = rank, world, local
        self.synchronised = synchronised and world > 1

    @classmethod
    def join(cls, *, synchronised: bool = False) -> ProcessGroup:
        """Meet the other processes that torchrun has started; a team of one where there is no torchrun.

        Raises DarknetError where PyTorch was built without ``torch.distributed``.
        """
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            return cls()
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if world > 1:
            distributed = torch.distributed
            if not distributed.is_available():
                raise DarknetError("this PyTorch has no torch.distributed: it trains with one process")
            if not distributed.is_initialized():
                on_gpu = torch.cuda.is_available() and distributed.is_nccl_available()
                if on_gpu:
                    torch.cuda.set_device(local % torch.cuda.device_count())
                distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
        return cls(rank, world, local, synchronised=synchronised)

    def leave(self) -> None:
        """Part, once all is done."""
        if self.world > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    @property
    def writes(self) -> bool:
        """Whether this process prints and writes files."""
        return self.rank == 0

    def total(self, x: Tensor) -> Tensor:
        """The sum of ``x`` over the processes; a new tensor."""
        x = x.detach().clone()
        if self.world > 1:
            torch.distributed.all_reduce(x)
        return x

    @torch.no_grad()
    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Sum each tensor over the processes, in place."""
        for group in self._groups(tensors):
            flat = self.total(torch.cat([t.reshape(-1) for t in group]))
            parts = flat.split([t.numel() for t in group])
            for tensor, part in zip(group, parts, strict=True):
                tensor.copy_(part.view(tensor.shape))

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Make each tensor its mean over the processes, in place."""
        if self.world > 1:
            self.sum(tensors)
            for tensor in tensors:
                tensor /= self.world

    @torch.no_grad()
    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Give each tensor the values that it has in process 0, in place."""
        if self.world > 1:
            for tensor in tensors:
                whole = tensor.contiguous()
                torch.distributed.broadcast(whole, 0)
                tensor.copy_(whole)

    def gather(self, thing: T) -> list[T]:
        """What every process has, in the order of their ranks."""
        if self.world == 1:
            return [thing]
        things: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(things, thing)
        return things

    def share(self, things: Sequence[T]) -> Sequence[T]:
        """This process's consecutive part of ``things``."""
        first, after = (len(things) * number // self.world for number in (self.rank, self.rank + 1))
        return things[first:after]

    def _groups(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """Tensors of one kind, to be sent as one."""
        if self.world == 1:
            return []
        groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for tensor in tensors:
            groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        return list(groups.values())
