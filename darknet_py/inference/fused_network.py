"""``optimise``: fuse and reorganise a network for faster inference with the same results.

Batch norm is folded into the convolution before it (in double precision), bias, activation and a following sum are
applied with the convolution, maps are in channels_last order, weights are packed once, and an output is freed after its
last reader. On a CPU the images of a batch run through the whole network one by one, which is as fast and needs the
memory of one image; where the layers are so small that the overhead of calling them dominates, a few images run at a
time. Measurements are in docs/performance.md.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._liveness import dead_after, peak_size
from ..layers import Shape
from ..modes import update_computed
from ..network import INPUT, Network, evaluating, unwrap
from .convolutions import FusedConvolution, Target, has_fast_bf16, has_onednn, require_dtype
from .cuda_graphs import Graphs
from .freed_weights import FreedWeights
from .steps import fuse
from .weight_tracker import WeightTracker

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_CACHE = 16 << 20  # bytes of cache per thread that the input and output of a layer may take
_LARGE_STEP = 0.15e9  # operations of a step, in float32, from which the time to call it is negligible


class Step(NamedTuple):
    """A module of the plan.

    Attributes:
        layers: numbers of the layers that it replaces.
        output: number of the layer whose output it computes.
        sources: numbers of the layers whose outputs it reads; -1 is the network's input.
        module: computes the output from those of the sources.
    """

    layers: tuple[int, ...]
    output: int
    sources: tuple[int, ...]
    module: nn.Module


def optimise(network: nn.Module, *, dtype: str = "fp32", compile: bool = False, graph: bool = False) -> FusedNetwork:
    """Return a module that computes what ``network(x)`` computes in eval mode, faster and without gradients.

    Later changes of the network's parameters take effect, as far as ``WeightTracker`` detects them; after others call
    ``refresh``. The weights are kept twice in memory. A network of another dtype than float32 runs unchanged, as does
    one with binary convolutions in float32. A network in training mode is in eval mode during a call.

    Args:
        network: the network, see ``network.unwrap``.
        dtype: ``fp32``; ``bf16``, which is about twice as fast on CPUs that support it (AVX-512 BF16, AMX) and moves
            boxes by about a pixel; ``fp16`` for GPUs. Heads and other sensitive layers compute in float32.
        compile: compile the steps with torch.compile, which takes seconds to minutes at the first call with each input
            size (and uses CUDA graphs on a GPU).
        graph: use CUDA graphs without compiling, for a stateless network on a GPU.

    Raises:
        ValueError: the options do not fit the network, its device or this machine.
    """
    return FusedNetwork(unwrap(network), dtype=dtype, compile=compile, graph=graph)


class FusedNetwork(nn.Module):
    """An optimised network, see ``optimise``.

    Args:
        reload: loads the network again, if nobody else uses it: weights are freed when they have been packed, layer by
            layer, until ``restore``. None: they are kept.
        traced: torch's own operators, which oneDNN's graph compiler can read, and no packed weights.

    Attributes:
        plan: the steps that run instead of the layers.
    """

    def __init__(
        self,
        network: Network,
        *,
        dtype: str = "fp32",
        compile: bool = False,
        graph: bool = False,
        reload: Callable[[], Network] | None = None,
        traced: bool = False,
    ) -> None:
        super().__init__()
        if dtype not in DTYPES:
            raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
        self._network = (network,)  # a tuple keeps nn.Module from registering its parameters as ours
        self.dtype_name = dtype
        self.dtype = DTYPES[dtype]
        self.compiled = compile
        self.graph = graph
        self.traced = traced
        self._lock = threading.RLock()
        self._freed = None if reload is None else FreedWeights(network, reload)
        # First, so that changes meanwhile are detected. Nobody else can change weights that may be freed.
        self._tracker = WeightTracker(network) if self._freed is None else None
        self.eval()
        try:
            self._prepare()
        except BaseException:  # also an interruption: the network must not stay without weights
            self.restore()
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the network and the options; packed weights and compiled code cannot be."""
        build = functools.partial(
            type(self), dtype=self.dtype_name, compile=self.compiled, graph=self.graph, traced=self.traced
        )
        return build, (self.network,)

    @property
    def network(self) -> Network:
        """The network that this one was made from, with its weights."""
        self.restore()
        return self._network[0]

    def restore(self) -> None:
        """Load the weights again that were freed, and keep them from now on. Raises WeightsError."""
        with self._lock:
            if self._freed is not None:
                self._freed.restore()
                self._freed = None
                self._tracker = WeightTracker(self._network[0])

    def reset(self) -> None:
        """Clear the state of recurrent layers."""
        self._network[0].reset()

    def refresh(self) -> None:
        """Fold and pack the network's current weights, after changes that ``WeightTracker`` does not detect."""
        self.restore()
        if self._tracker is not None:
            self._tracker.update()
        self._prepare()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Run the network.

        Args:
            x: float32 [batch, channels, height, width] in 0..1, or [batch, inputs].

        Returns:
            float32 outputs of the heads, or of the last layer where there is no head.
        """
        with self._lock:
            if self._tracker is not None and self._tracker.changed():
                self.refresh()
        network = self._network[0]
        if not self._is_float32:
            return network.predict(x)
        x = network.to_batch(x)
        with torch.no_grad(), evaluating(network):
            parts = [self._run(part) for part in x.split(self._images_per_pass(x))]
        if len(parts) == 1:
            return parts[0]
        return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]

    def peak_activation_memory(self, batch: int = 1) -> int:
        """Compute the peak memory of the layers' outputs, in bytes, when a batch runs as a whole.

        Neither the layers' temporary memory nor the weights are included.
        """
        steps, dead = zip(*self._schedule, strict=True)
        network = self._network[0]
        sizes = {INPUT: network.shape.floats} | {step.output: network[step.output].shape.floats for step in steps}
        return peak_size([step.output for step in steps], dead, sizes, {}) * batch * self.dtype.itemsize

    def _prepare(self) -> None:
        network = self._network[0]
        update_computed(network)
        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        on_cpu = device.type == "cpu"
        require_dtype(self.dtype_name, device)
        if self.graph and (device.type != "cuda" or network.stateful or self.compiled):
            raise ValueError("graph: needs a stateless network on a CUDA device, and no compile=True")
        packed = on_cpu and not (self.compiled or self.traced) and has_onednn()
        packed = packed and (self.dtype is torch.float32 or has_fast_bf16())
        floats = (t for t in (*network.parameters(), *network.buffers()) if t.is_floating_point())
        self._is_float32 = all(t.dtype is torch.float32 for t in floats)
        # Any other rounding than that of the layers would flip signs, and each flip causes more in later layers.
        binary = self.dtype is torch.float32 and any(layer.is_binary for layer in network)
        self._memory_format = torch.preserve_format if binary else torch.channels_last
        with torch.no_grad():
            steps = _unfused(network) if binary else _plan(network, Target(self.dtype, device, packed, self.traced))
            plan = list(self._pack(steps))
        self.steps = nn.ModuleList(step.module for step in plan)  # registered for torch.compile and for hooks
        self.plan = plan
        dead = dead_after(((step.output, step.sources) for step in plan), network.outputs)
        self._schedule = list(zip(plan, dead, strict=True))
        self._run = self._compiled() if self.compiled else Graphs(self._interpret) if self.graph else self._interpret
        self._largest = max(sum(x.floats for x in _inputs(network, i)) + y.shape.floats for i, y in enumerate(network))
        self._flops = network.flops
        # A stateful layer must see the whole batch.
        self._runs_whole_batch = not on_cpu or network.stateful or binary

    def _pack(self, steps: Iterator[Step]) -> Iterator[Step]:
        """Yield the steps, and free the weights of each that has packed its own before the next is built."""
        for step in steps:
            if self._freed is not None and self._is_float32 and isinstance(step.module, FusedConvolution):
                self._freed.free(self._network[0][number] for number in step.layers)
            yield step

    def _compiled(self) -> Callable[[Tensor], list[Tensor]]:
        if any(p.is_cuda for p in self._network[0].parameters()):
            return torch.compile(self._interpret, mode="reduce-overhead")
        return torch.compile(self._interpret, options={"freezing": True})

    def _interpret(self, x: Tensor) -> list[Tensor]:
        outputs = {INPUT: x.to(self.dtype, memory_format=self._memory_format)}
        for step, dead in self._schedule:
            inputs = [outputs[source] for source in step.sources]
            try:
                outputs[step.output] = step.module(*inputs)
            except Exception as error:
                error.add_note(self._network[0].locate(step.layers[0], inputs))
                raise
            for number in dead:
                del outputs[number]
        return [y.float() for y in outputs.values()]

    def _images_per_pass(self, x: Tensor) -> int:
        """Number of images that run through the network at once."""
        if self._runs_whole_batch:
            return max(1, len(x))
        _, height, width = self._network[0].shape
        scale = x.shape[2] * x.shape[3] / (height * width)
        bytes_per_image = self._largest * scale * self.dtype.itemsize
        limit = int(_CACHE * torch.get_num_threads() / bytes_per_image)
        flops_per_step = self._flops * scale / len(self.plan) * self.dtype.itemsize / 4
        return max(1, min(limit, math.ceil(_LARGE_STEP / max(flops_per_step, 1.0))))


def _plan(network: Network, target: Target) -> Iterator[Step]:
    """Yield the steps in the order of the layers; a convolution and the sum that follows it are one step."""
    outputs = network.outputs
    numbers = _aliases(network)
    graph = [tuple(source if source == INPUT else numbers[source] for source in sources) for sources in network.sources]
    sums = _fusible_sums(network, numbers, graph)
    convolutions = {total: number for number, total in sums.items()}
    for index, layer in enumerate(network):
        if index in sums or numbers[index] != index:
            continue
        first = convolutions.get(index, index)
        activation = layer.as_sum(*_inputs(network, index)) if first != index else None
        x = _inputs(network, first)[0]
        module = fuse(network[first], x, target, sum_activation=activation, is_output=index in outputs)
        sources = graph[first]
        if first != index:
            sources = (*sources, *(source for source in graph[index] if source != first))
        layers = tuple(n for n, computed_by in enumerate(numbers) if computed_by in (first, index))
        yield Step(layers, index, sources, module)


def _unfused(network: Network) -> Iterator[Step]:
    """Yield every layer as a step."""
    for index, layer in enumerate(network):
        yield Step((index,), index, network.sources[index], layer)


def _aliases(network: Network) -> list[int]:
    """Return for each layer the number of the layer that computes its output: itself, or its source if an identity."""
    outputs = network.outputs
    numbers: list[int] = []
    for index, layer in enumerate(network):
        sources = network.sources[index]
        removable = index not in outputs and INPUT not in sources
        is_alias = removable and layer.is_identity(*_inputs(network, index))
        numbers.append(numbers[sources[0]] if is_alias else index)
    return numbers


def _fusible_sums(network: Network, numbers: Sequence[int], graph: Sequence[tuple[int, ...]]) -> dict[int, int]:
    """Map each convolution that can be fused with a sum, its only reader, to that sum; one convolution per sum."""
    readers: dict[int, list[int]] = {}
    for index, sources in enumerate(graph):
        for source in sources if numbers[index] == index else ():
            readers.setdefault(source, []).append(index)
    outputs = network.outputs
    sums: dict[int, int] = {}
    for index, layer in enumerate(network):
        if layer.as_sum(*_inputs(network, index)) is None:
            continue
        single_reader = [s for s in graph[index] if s != INPUT and readers[s] == [index] and s not in outputs]
        convolutions = [source for source in single_reader if network[source].as_convolution() is not None]
        if convolutions:
            sums[convolutions[0]] = index
    return sums


def _inputs(network: Network, index: int) -> list[Shape]:
    """Shapes of the layer's inputs."""
    return [network.shape if source == INPUT else network[source].shape for source in network.sources[index]]
