"""``optimise``: the same network, faster at inference; the boxes stay the same.

What is done: norms are folded into the convolutions before them (in double precision), bias and activation
join the convolution, a sum joins the convolution before it, maps are in channels_last order, weights are packed
once (``fused`` has the steps), and an output is dropped after its last reader. On a CPU a batch runs through the whole
network image by image, which is as fast and takes the memory of one, or a few at a time where layers are so
little work that calling them counts. docs/performance.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..layers import Head, Layer, Shape
from ..network import INPUT, Network
from . import steps
from .allocator import keep_freed_memory
from .convolutions import Target, has_onednn
from .cuda_graphs import Graphs

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_CACHE = 16 << 20  # bytes for each thread that the input and output of a layer may take
_WORTH = 0.15e9  # operations of a step, in float32, beside which the time to call it is nothing


class Step(NamedTuple):
    """One module of the plan: the layers it stands for, the number of its output, and those that it reads."""

    layers: tuple[int, ...]
    output: int
    sources: tuple[int, ...]
    module: nn.Module


def optimise(network: Network, *, dtype: str = "fp32", compile: bool = False, graph: bool = False) -> FusedNetwork:
    """A module that gives what ``network(x)`` gives in eval mode, faster and without gradients.

    ``dtype``: ``fp32``; ``bf16``, which halves the time on CPUs that have it (AVX-512 BF16, AMX) and moves a
    box by a pixel or so; ``fp16`` for GPUs. Heads and what else is delicate stay in float32. ``compile``:
    hand the steps to torch.compile, which takes from seconds to minutes at the first call for each input size
    (and CUDA graphs on a GPU). ``graph``: CUDA graphs without compiling, for a network on a GPU that keeps no state.
    Later changes of the network's parameters are followed; the weights are held a second time. A network in
    training mode, or of another precision, runs as it is, and so does one with binary convolutions in float32.
    Raises ValueError.
    """
    return FusedNetwork(network, dtype=dtype, compile=compile, graph=graph)


class FusedNetwork(nn.Module):
    """See ``optimise``. ``network``: the one it was made from; ``plan``: what it runs instead of the layers."""

    def __init__(self, network: Network, *, dtype: str = "fp32", compile: bool = False, graph: bool = False) -> None:
        super().__init__()
        if dtype not in _DTYPES:
            raise ValueError(f"dtype: expected one of {', '.join(_DTYPES)}, got {dtype!r}")
        self._network = (network,)  # a tuple keeps nn.Module from counting its parameters among ours
        self.dtype, self.compiled, self.graph = _DTYPES[dtype], compile, graph
        self.eval()
        self._prepare()

    @property
    def network(self) -> Network:
        """The network that this one stands for."""
        return self._network[0]

    def reset(self) -> None:
        """Forget the state of recurrent layers."""
        self.network.reset()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images [batch, channels, height, width] in 0..1 to the outputs of the heads, in float32."""
        if self.network.training or any(t.dtype is not torch.float32 for t in self._tensors):
            plain: list[Tensor] = self.network(x)
            return plain
        if self._state() != self._prepared:
            self._prepare()
        x = self.network.accepted(x)
        with torch.no_grad():
            parts = [self._run(part) for part in x.split(self._together(x))]
        if len(parts) == 1:
            return parts[0]
        return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]

    def live(self, batch: int = 1) -> int:
        """Bytes of the outputs that are alive at once, at most, when a batch runs through as a whole.

        Without what a layer holds while it works, and without the weights.
        """
        held, most = self.network.shape.floats, 0
        for step, dead in zip(self.plan, self._dead, strict=True):
            held += self.network[step.output].shape.floats
            most = max(most, held)
            held -= sum(self.network.shape.floats if n == INPUT else self.network[n].shape.floats for n in dead)
        return most * batch * self.dtype.itemsize

    def _prepare(self) -> None:
        network = self.network
        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        if self.dtype is torch.float16 and device.type == "cpu":
            raise ValueError("dtype: fp16 needs a GPU; on a CPU bf16 is the fast one")
        stateful = any(type(layer).reset is not Layer.reset for layer in network)
        if self.graph and (device.type != "cuda" or stateful or self.compiled):
            raise ValueError("graph: needs a network on a CUDA device that keeps no state, and no compile=True")
        packed = device.type == "cpu" and not self.compiled and has_onednn()
        if device.type == "cpu":
            keep_freed_memory()
        self._tensors = [t for t in (*network.parameters(), *network.buffers()) if not t.is_inference()]
        self._prepared = self._state()
        # Rounding otherwise than the layers do would turn some signs, and each turns more behind it.
        binary = self.dtype is torch.float32 and any(steps.is_binary(layer) for layer in network)
        self._order = torch.preserve_format if binary else torch.channels_last
        with torch.no_grad():
            target = Target(self.dtype, device, packed)
            plan = list(_as_it_is(network) if binary else _plan(network, target))
        self.steps = nn.ModuleList(step.module for step in plan)  # registered: for torch.compile and for hooks
        self.plan = plan
        self._dead = _dead(plan, _kept(network))
        self._run = self._compiled() if self.compiled else Graphs(self._interpret) if self.graph else self._interpret
        self._largest = max(sum(x.floats for x in _inputs(network, i)) + y.shape.floats for i, y in enumerate(network))
        # Layers that remember must see the batch whole.
        self._whole = device.type != "cpu" or stateful or binary

    def _compiled(self) -> Callable[[Tensor], list[Tensor]]:
        if any(p.is_cuda for p in self.network.parameters()):
            return torch.compile(self._interpret, mode="reduce-overhead")
        return torch.compile(self._interpret, options={"freezing": True})

    def _interpret(self, x: Tensor) -> list[Tensor]:
        outputs = {INPUT: x.to(self.dtype, memory_format=self._order)}
        for step, dead in zip(self.plan, self._dead, strict=True):
            outputs[step.output] = step.module(*(outputs[source] for source in step.sources))
            for number in dead:
                del outputs[number]
        return [y.float() for y in outputs.values()]

    def _together(self, x: Tensor) -> int:
        """How many images run through the network at once."""
        if self._whole:
            return max(1, len(x))
        grown = x.shape[2] * x.shape[3] / (self.network.shape.height * self.network.shape.width)
        each = self._largest * grown * self.dtype.itemsize
        fitting = int(_CACHE * torch.get_num_threads() / each)
        step = self.network.flops * grown / len(self.plan) * self.dtype.itemsize / 4
        return max(1, min(fitting, math.ceil(_WORTH / max(step, 1.0))))

    def _state(self) -> list[int]:
        """What changes when somebody changes the network's numbers or moves them."""
        return [part for tensor in self._tensors for part in (tensor.data_ptr(), tensor._version)]


def _plan(network: Network, target: Target) -> Iterator[Step]:
    """The steps in the order of the layers; a convolution and the sum behind it are one."""
    kept, numbers = _kept(network), _numbers(network)
    graph = [tuple(source if source == INPUT else numbers[source] for source in of) for of in network.sources]
    taken = _taken_along(network, numbers, graph)
    convolution = {joined: number for number, joined in taken.items()}
    for index, layer in enumerate(network):
        if index in taken or numbers[index] != index:
            continue
        first = convolution.get(index, index)
        after = steps.sum_of(layer, *_inputs(network, index)) if first != index else None
        module = steps.fuse(network[first], _inputs(network, first)[0], target, after=after, last=index in kept)
        sources = graph[first]
        if first != index:
            sources = (*sources, *(source for source in graph[index] if source != first))
        yield Step(tuple(n for n, of in enumerate(numbers) if of in (first, index)), index, sources, module)


def _as_it_is(network: Network) -> Iterator[Step]:
    """Every layer as its own step."""
    for index, layer in enumerate(network):
        yield Step((index,), index, network.sources[index], layer)


def _numbers(network: Network) -> list[int]:
    """By layer, the layer whose output is its own: itself, or an earlier one where it does nothing."""
    kept = _kept(network)
    found: list[int] = []
    for index, layer in enumerate(network):
        inputs = _inputs(network, index)
        nothing = index not in kept and INPUT not in network.sources[index] and steps.does_nothing(layer, *inputs)
        found.append(found[network.sources[index][0]] if nothing else index)
    return found


def _taken_along(network: Network, numbers: Sequence[int], graph: Sequence[tuple[int, ...]]) -> dict[int, int]:
    """Convolutions whose output nobody reads but a plain sum, with the number of that sum."""
    readers: dict[int, list[int]] = {}
    for index, sources in enumerate(graph):
        for source in sources if numbers[index] == index else ():
            readers.setdefault(source, []).append(index)
    found: dict[int, int] = {}
    for index, layer in enumerate(network):
        if steps.sum_of(layer, *_inputs(network, index)) is None:
            continue
        alone = [s for s in graph[index] if s != INPUT and readers[s] == [index] and s not in _kept(network)]
        mine = [source for source in alone if steps.is_convolution(network[source])]
        if mine:
            found[mine[0]] = index
    return found


def _kept(network: Network) -> set[int]:
    """The layers whose outputs leave the network."""
    heads = {index for index, layer in enumerate(network) if isinstance(layer, Head)}
    return heads or {len(network.layers) - 1}


def _dead(plan: Sequence[Step], kept: set[int]) -> list[list[int]]:
    """For each step, the outputs that nobody reads after it."""
    last = {step.output: number for number, step in enumerate(plan)} | {INPUT: 0}
    last |= {source: number for number, step in enumerate(plan) for source in step.sources}
    dead: list[list[int]] = [[] for _ in plan]
    for output, number in last.items():
        if output not in kept:
            dead[number].append(output)
    return dead


def _inputs(network: Network, index: int) -> list[Shape]:
    """Shapes of what a layer reads."""
    return [network.shape if source == INPUT else network[source].shape for source in network.sources[index]]
