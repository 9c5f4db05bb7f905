"""``DataParallel``: gradients that are summed over processes while the backward pass runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..distributed import ProcessGroup

T = TypeVar("T")


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


def create_data_parallel(
    function: Callable[..., Any], parameters: Iterable[nn.Parameter], group: ProcessGroup
) -> DataParallel | None:
    """Return ``function`` with gradients that are summed over the processes; None for a single process."""
    return None if group.world_size == 1 else DataParallel(function, parameters, group)
