"""``ProcessGroup``: processes that train one network together, or detect on the images of one data set.

torchrun starts the processes and describes them in environment variables.

Training: the cfg's ``batch`` stays the number of images per update, however many processes there are: of the images of
every mini-batch each process takes a consecutive 1 / world_size, and gradients are summed over the processes, as
Darknet's are sums over images. So several processes make the same steps as one, except for batch norm, whose statistics
are those of each process's share unless ``sync_bn``. (Darknet's ``-gpus`` trains each GPU on a separate batch with a
higher learning rate, and averages the weights every fourth iteration.)

Inference: the processes take turns at the batches, so that each batch has the images that it has in one process, and
with them the same results to the last bit.
"""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from .errors import DarknetError

T = TypeVar("T")
_RESTARTS = "TORCHELASTIC_RESTART_COUNT"
LONG_TIMEOUT = datetime.timedelta(days=30)  # of processes that only meet at the end of their shards


def is_main_process() -> bool:
    """Whether this is the main one of torchrun's processes, or the only one; before ``ProcessGroup.init``, too."""
    return os.environ.get("RANK", "0") == "0"


def is_restart() -> bool:
    """Whether torchrun has started this process again after one of the processes failed (``--max-restarts``)."""
    return os.environ.get(_RESTARTS, "0") != "0"


def _create_store() -> Any:
    """The store in which the processes find each other: torchrun's, without the addresses of failed processes.

    torchrun keeps its store when it restarts them, and torch may connect to an address that is no longer valid.
    """
    distributed: Any = torch.distributed  # its stubs do not export what follows
    store, _, _ = next(iter(distributed.rendezvous("env://")))
    return distributed.PrefixStore(f"restart {os.environ.get(_RESTARTS, 0)}", store)


class ProcessGroup:
    """The processes of one run; ``ProcessGroup()`` is a single process.

    Args:
        rank: 0 (the main process, which writes the files) to ``world_size`` - 1.
        world_size: Number of processes.
        local_rank: Number of the process on its machine.
        sync_bn: Whether batch norm computes its statistics over the mini-batch's images of all processes.
        advice: What to do after the loss of a process, as the end of the error's text.
    """

    def __init__(
        self, rank: int = 0, world_size: int = 1, local_rank: int = 0, *, sync_bn: bool = False, advice: str = ""
    ) -> None:
        self.rank = rank
        self.world_size = world_size
        self.local_rank = local_rank
        self.sync_bn = sync_bn and world_size > 1
        self.advice = advice
        self._store: Any = None  # of a group that ``init`` has created

    @classmethod
    def init(
        cls, *, sync_bn: bool = False, timeout: datetime.timedelta | None = None, advice: str = ""
    ) -> ProcessGroup:
        """Join the processes that torchrun has started; without torchrun this is a single process.

        Args:
            sync_bn: See the class.
            timeout: How long a process waits for another one; None: torch's default of 30 minutes.
            advice: See the class.

        Raises:
            DarknetError: PyTorch was built without ``torch.distributed``.
        """
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            return cls()
        rank = int(os.environ["RANK"])
        world_size = int(os.environ["WORLD_SIZE"])
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        group = cls(rank, world_size, local_rank, sync_bn=sync_bn, advice=advice)
        if world_size > 1:
            distributed = torch.distributed
            if not distributed.is_available():
                raise DarknetError("this PyTorch has no torch.distributed: expected one process")
            if not distributed.is_initialized():
                has_nccl = torch.cuda.is_available() and distributed.is_nccl_available()
                if has_nccl:
                    torch.cuda.set_device(local_rank % torch.cuda.device_count())
                backend = "cpu:gloo,cuda:nccl" if has_nccl else "gloo"
                group._store = _create_store()
                distributed.init_process_group(
                    backend, store=group._store, rank=rank, world_size=world_size, timeout=timeout
                )
        return group

    def destroy(self) -> None:
        """Leave torch's process group, if ``init`` has created it; nothing can be communicated afterwards."""
        if self._store is not None and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes files."""
        return self.rank == 0

    def device(self, device: torch.device) -> torch.device:
        """``device``, or this process's own GPU if several processes are to use CUDA."""
        if device.type == "cuda" and self.world_size > 1:
            return torch.device("cuda", self.local_rank % torch.cuda.device_count())
        return device

    def all_reduce(self, x: Tensor) -> Tensor:
        """Sum ``x``, of any shape and the same in all processes, over the processes; return a new tensor."""
        x = x.detach().clone()
        if self.world_size > 1:
            with self.failures():
                torch.distributed.all_reduce(x)
        return x

    @torch.no_grad()
    def all_reduce_(self, tensors: Sequence[Tensor]) -> None:
        """Sum each tensor over the processes, in place; tensors of one dtype and device are sent as one."""
        for bucket in self._buckets(tensors):
            flat = self.all_reduce(torch.cat([t.reshape(-1) for t in bucket]))
            parts = flat.split([t.numel() for t in bucket])
            for tensor, part in zip(bucket, parts, strict=True):
                tensor.copy_(part.view(tensor.shape))

    @torch.no_grad()
    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, in place."""
        if self.world_size > 1:
            self.all_reduce_(tensors)
            for tensor in tensors:
                tensor /= self.world_size

    @torch.no_grad()
    def broadcast_(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite each tensor with its values in process 0, in place."""
        if self.world_size > 1:
            for tensor in tensors:
                contiguous = tensor.contiguous()
                with self.failures():
                    torch.distributed.broadcast(contiguous, 0)
                tensor.copy_(contiguous)

    def sum(self, value: float, device: torch.device) -> float:
        """The sum of ``value``, rounded to float32, over the processes. ``device``: where the network is."""
        tensor = torch.tensor(value, dtype=torch.float32, device=device if self.world_size > 1 else None)
        return float(self.all_reduce(tensor))

    def any(self, flags: Sequence[bool], device: torch.device) -> list[bool]:
        """For each flag, whether it is true in any process. ``device``: where the network is."""
        if self.world_size == 1:
            return list(flags)
        counts: list[float] = self.all_reduce(torch.tensor(flags, dtype=torch.float32, device=device)).tolist()
        return [count > 0 for count in counts]

    def all_gather(self, value: T) -> list[T]:
        """The picklable ``value`` of every process, in the order of ranks."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        with self.failures():
            torch.distributed.all_gather_object(values, value)
        return values

    def gather(self, value: T) -> list[T]:
        """The picklable ``value`` of every process, in the order of ranks, in the main process; elsewhere nothing."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size if self.is_main else []
        with self.failures():
            torch.distributed.gather_object(value, values if self.is_main else None)
        return values

    def is_first(self, text: str) -> bool:
        """Whether no other process has asked this for the same text, as an error that all find and one reports."""
        if self._store is None:
            return True
        key = hashlib.sha256(text.encode(errors="replace")).hexdigest()
        try:
            return int(self._store.add(key, 1)) == 1
        except RuntimeError:  # torchrun has ended
            return True

    def compute_once(self, function: Callable[[], T]) -> T:
        """The picklable result of a function that only the main process calls.

        Raises:
            DarknetError: In all processes, what the function raised.
        """
        if self.world_size == 1 or not torch.distributed.is_initialized():
            return function()
        outcome: list[Any] = [None]
        if self.is_main:
            try:
                outcome = [function()]
            except DarknetError as error:
                outcome = [error]
        with self.failures():
            torch.distributed.broadcast_object_list(outcome)
        if isinstance(outcome[0], DarknetError):
            raise outcome[0]
        result: T = outcome[0]
        return result

    def compute_main_first(self, function: Callable[[], T]) -> T:
        """The result of a function that the main process calls, and then the others, such as one that downloads.

        Raises:
            DarknetError: In all processes, what the function raised in the main one, in which case the others do not
                call it; otherwise what it raised in this process.
        """
        results: list[T] = []
        self.compute_once(lambda: results.append(function()))
        return results[0] if results else function()

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """This process's consecutive part of ``items``."""
        start, stop = (len(items) * number // self.world_size for number in (self.rank, self.rank + 1))
        return items[start:stop]

    def indices(self, count: int, batch: int = 1, *, is_sequence: bool = False, rank: int | None = None) -> list[int]:
        """The numbers of the items that a process computes: every ``world_size``-th batch.

        Args:
            count: Number of items.
            batch: Items in a batch.
            is_sequence: Whether the items must be computed in order by one process, the main one.
            rank: The process; None: this one.
        """
        rank = self.rank if rank is None else rank
        if is_sequence:
            return list(range(count)) if rank == 0 else []
        starts = range(rank * batch, count, self.world_size * batch)
        return [index for start in starts for index in range(start, min(start + batch, count))]

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Raise DarknetError if the processes cannot communicate."""
        try:
            yield
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise DarknetError(
                f"process {self.rank} of {self.world_size}: another process has ended or cannot be reached ({reason})"
                f"{self.advice}"
            ) from error

    def _buckets(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """Tensors by dtype and device; none for a single process."""
        if self.world_size == 1:
            return []
        buckets: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for tensor in tensors:
            buckets.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        return list(buckets.values())
