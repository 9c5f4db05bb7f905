"""``ProcessGroup``: processes that train one network together, each on its share of every mini-batch.

torchrun starts the processes and describes them in environment variables. The cfg's ``batch`` stays the number of
images per update, however many processes there are: of the images of every mini-batch each process takes a
consecutive 1 / world_size, and gradients are summed over the processes, as Darknet's are sums over images. So several
processes make the same steps as one, except for batch norm, whose statistics are those of each process's share unless
``sync_bn``. (Darknet's ``-gpus`` trains each GPU on a separate batch with a higher learning rate, and averages the
weights every fourth iteration.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import DarknetError

T = TypeVar("T")
_RESTARTS = "TORCHELASTIC_RESTART_COUNT"


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


class _Function(nn.Module):
    """A function of parameters as a module, without the buffers of the network that has them."""

    def __init__(self, function: Callable[..., Any], parameters: Iterable[nn.Parameter]) -> None:
        super().__init__()
        self.of_network = nn.ParameterList(parameters)
        # torch warns of find_unused_parameters where each parameter is used; whether it is, depends on the cfg.
        self.unused = nn.Parameter(self.of_network[0].new_zeros(()))
        self._function = function

    def forward(self, *args: Any) -> Any:
        return self._function(*args)


class DataParallel:
    """A function of parameters whose gradients are summed over the processes while the backward pass runs.

    ``torch.nn.parallel.DistributedDataParallel``, which sends the gradients of late layers while those of early ones
    are computed, with Darknet's sum in place of its mean.

    Args:
        function: Returns what the backward pass starts at. Processes call it equally often, each with its own images.
        parameters: Those with ``requires_grad`` have gradients that are summed.
        group: The processes.
    """

    def __init__(self, function: Callable[..., Any], parameters: Iterable[nn.Parameter], group: ProcessGroup) -> None:
        self._group = group
        self._failure: RuntimeError | None = None
        with group.failures():
            # With find_unused_parameters the buckets stay as they are: without, they are ordered again after the first
            # backward pass, and a resumed run would add up in another order than an uninterrupted one.
            self._module = nn.parallel.DistributedDataParallel(
                _Function(function, parameters),
                init_sync=False,
                find_unused_parameters=True,
                gradient_as_bucket_view=True,
            )
        self._module.register_comm_hook(None, lambda _, bucket: self._sum(bucket.buffer()))

    def __call__(self, *args: Any) -> Any:
        """What the function returns; inside ``accumulating``."""
        return self._module(*args)

    @contextmanager
    def accumulating(self, *, sums: bool) -> Iterator[None]:
        """Run forward and backward inside. ``sums``: whether to sum all gradients so far over the processes.

        Raises:
            DarknetError: The processes cannot communicate.
        """
        try:
            with nullcontext() if sums else self._module.no_sync():
                yield
        except RuntimeError:
            if self._failure is None:
                raise
            with self._group.failures():
                raise self._failure from None

    def _sum(self, bucket: Tensor) -> Any:
        """Start to sum the gradients of a bucket, in place; return a future of them."""
        work = self._noting_failure(lambda: torch.distributed.all_reduce(bucket, async_op=True))
        return work.get_future().then(lambda future: self._noting_failure(future.value)[0])

    def _noting_failure(self, function: Callable[[], T]) -> T:
        """Call a function; the backward pass would report its error without saying what it is."""
        try:
            return function()
        except RuntimeError as error:
            self._failure = error
            raise


class ProcessGroup:
    """The processes of a training run; ``ProcessGroup()`` is a single process.

    Args:
        rank: 0 (the main process, which writes the files) to ``world_size`` - 1.
        world_size: Number of processes.
        local_rank: Number of the process on its machine.
        sync_bn: Whether batch norm computes its statistics over the mini-batch's images of all processes.
    """

    def __init__(self, rank: int = 0, world_size: int = 1, local_rank: int = 0, *, sync_bn: bool = False) -> None:
        self.rank = rank
        self.world_size = world_size
        self.local_rank = local_rank
        self.sync_bn = sync_bn and world_size > 1
        self._owns_group = False

    @classmethod
    def init(cls, *, sync_bn: bool = False) -> ProcessGroup:
        """Join the processes that torchrun has started; without torchrun this is a single process.

        Raises:
            DarknetError: PyTorch was built without ``torch.distributed``.
        """
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            return cls()
        rank = int(os.environ["RANK"])
        world_size = int(os.environ["WORLD_SIZE"])
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        group = cls(rank, world_size, local_rank, sync_bn=sync_bn)
        if world_size > 1:
            distributed = torch.distributed
            if not distributed.is_available():
                raise DarknetError("this PyTorch has no torch.distributed: it trains with one process")
            if not distributed.is_initialized():
                has_nccl = torch.cuda.is_available() and distributed.is_nccl_available()
                if has_nccl:
                    torch.cuda.set_device(local_rank % torch.cuda.device_count())
                backend = "cpu:gloo,cuda:nccl" if has_nccl else "gloo"
                distributed.init_process_group(backend, store=_create_store(), rank=rank, world_size=world_size)
                group._owns_group = True
        return group

    def destroy(self) -> None:
        """Leave torch's process group, if ``init`` has created it; nothing can be communicated afterwards."""
        if self._owns_group and torch.distributed.is_initialized():
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

    def data_parallel(self, function: Callable[..., Any], parameters: Iterable[nn.Parameter]) -> DataParallel | None:
        """``function`` with gradients that are summed over the processes; None for a single process."""
        return None if self.world_size == 1 else DataParallel(function, parameters, self)

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

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """This process's consecutive part of ``items``."""
        start, stop = (len(items) * number // self.world_size for number in (self.rank, self.rank + 1))
        return items[start:stop]

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Raise DarknetError if the processes cannot communicate."""
        try:
            yield
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise DarknetError(
                f"process {self.rank} of {self.world_size}: another process has ended or cannot be reached ({reason}). "
                "Continue from the last state with --resume; torchrun --max-restarts=N does so by itself"
            ) from error

    def _buckets(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """Tensors by dtype and device; none for a single process."""
        if self.world_size == 1:
            return []
        buckets: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for tensor in tensors:
            buckets.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        return list(buckets.values())
