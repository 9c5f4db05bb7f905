"""A network as a pure function of tensors, which ``torch.export`` and the ONNX exporter can trace.

The state of recurrent layers becomes inputs and outputs, batch norm is fused into the layers before it, and the heads'
outputs can be decoded to boxes inside the graph.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..conversion.fuse_bn import fuse_batch_norm
from ..errors import DarknetError, DataError, WeightsError
from ..network import Network
from ..postprocess import Heads, decode_dense
from .quiet import quiet_converters

_MIN_CELLS = 4  # of the smallest feature map, in width and height, for a dynamic size


class TraceableNetwork(nn.Module):
    """A copy of a network on the CPU as a function ``forward(x, *states) -> (*outputs, *next_states)``.

    Args:
        network: The network; it is not changed.
        heads: What to return. ``Heads.NMS`` returns the same as ``Heads.BOXES``: NMS is added to the ONNX graph.
        half: Whether the layers compute in float16. Inputs, outputs and states are float32 in any case.
        threshold: Score threshold, for heads whose class probabilities depend on one (class trees).

    Raises:
        DataError: The network has no heads, or heads with different numbers of classes, and ``heads`` is not ``raw``.
        WeightsError: The network has no weights.
    """

    def __init__(self, network: Network, heads: Heads, *, half: bool = False, threshold: float = 0.25) -> None:
        super().__init__()
        if heads is not Heads.RAW and not network.heads:
            raise DataError(f"heads={heads}: the network has no detection head: expected heads=raw")
        if len({head.classes for head in network.heads}) > 1 and heads is not Heads.RAW:
            raise DataError(f"heads={heads}: the heads have different numbers of classes: expected heads=raw")
        if any(tensor.is_meta for tensor in network.state_dict().values()):
            raise WeightsError("the network has no weights")
        self.network = fuse_batch_norm(network).eval().cpu().requires_grad_(False)
        self.network.to(torch.float16 if half else torch.float32)
        self.heads = heads
        self.half_precision = half
        self.threshold = threshold
        self.stateful_layers = [(i, layer) for i, layer in enumerate(self.network) if layer.stateful]
        self.state_shapes = self._state_shapes()

    def example_input(self, batch: int) -> Tensor:
        """Return an input in 0..1, the same in every call.

        Images [batch, channels, height, width] have the spectrum of photographs, in which trained detectors are more
        confident than in noise: noise in octaves, weighted by the length of their waves. A vector [batch, inputs] is
        uniform noise.
        """
        shape = self.network.shape
        generator = torch.Generator().manual_seed(1)
        if not self.takes_images:
            return torch.rand(batch, shape.floats, generator=generator)
        x = torch.zeros(batch, *shape)
        for octave in range(max(1, max(shape[1:]).bit_length() - 1)):
            size = (math.ceil(shape.height / 2**octave), math.ceil(shape.width / 2**octave))
            noise = torch.rand(batch, shape.channels, *size, generator=generator) - 0.5
            x += 2 ** (octave / 2) * torch.nn.functional.interpolate(noise, shape[1:], mode="bilinear")
        return (0.5 + 0.25 * x / x.std(correction=0).clamp(min=1e-6)).clamp(0, 1)

    @property
    def takes_images(self) -> bool:
        """Whether the input is an image [channels, height, width]; else it is a vector [inputs]."""
        return max(self.network.shape[1:]) > 1 or self.network.options.width > 0

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """Return the states for the first call: zeros, float32 [batch, *shape of the state] each."""
        return tuple(torch.zeros(batch, *shape) for shapes in self.state_shapes for shape in shapes)

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Run one time step.

        Args:
            x: float32 [batch, channels, height, width] in 0..1, or [batch, inputs].
            states: ``initial_state(batch)`` in the first call, then the states that the previous call returned.
        """
        remaining = list(states)
        for (_, layer), shapes in zip(self.stateful_layers, self.state_shapes, strict=True):
            layer.state = tuple(self._cast(remaining.pop(0)) for _ in shapes)
        outputs = [output.float() for output in self.network(self._cast(x))]
        next_states = [part.float() for _, layer in self.stateful_layers for part in layer.state or ()]
        self.network.reset()  # traced tensors must not remain in the module
        if self.heads is not Heads.RAW:
            size = (x.shape[3], x.shape[2])
            pairs = decode_dense(self.network, outputs, size, self.threshold)
            outputs = [torch.cat(parts, dim=1) if len(pairs) > 1 else parts[0] for parts in zip(*pairs, strict=True)]
        return (*outputs, *next_states)

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs: ``input`` and ``state_LAYER_INDEX``."""
        return ["input", *self._state_names()]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs: ``SECTION_LAYER`` of heads, or ``boxes`` and ``scores``; ``next_state_LAYER_INDEX``."""
        outputs = ["boxes", "scores"]
        if self.heads is Heads.RAW:
            sections = self.network.config.sections[1:]
            last = [i for i, layer in enumerate(self.network) if layer in self.network.heads] or [len(sections) - 1]
            outputs = [f"{sections[i].name}_{i}" for i in last]
        return [*outputs, *(f"next_{name}" for name in self._state_names())]

    def _state_names(self) -> list[str]:
        pairs = zip(self.stateful_layers, self.state_shapes, strict=True)
        return [f"state_{layer}_{index}" for (layer, _), shapes in pairs for index in range(len(shapes))]

    def _cast(self, x: Tensor) -> Tensor:
        return x.half() if self.half_precision else x

    def _state_shapes(self) -> list[list[torch.Size]]:
        """For each stateful layer, the shapes of its states for one image."""
        if not self.stateful_layers:
            return []
        with torch.no_grad():
            self.network(self._cast(self.example_input(1)))
        shapes = [[part.shape[1:] for part in layer.state or ()] for _, layer in self.stateful_layers]
        self.network.reset()
        return shapes


def trace(module: TraceableNetwork, dynamic: bool | str) -> torch.export.ExportedProgram:
    """Trace a network with ``torch.export``.

    Args:
        module: The network.
        dynamic: Which dimensions of the input stay dynamic: ``"batch"``, ``"size"`` (height and width), True for both,
            or False.

    Raises:
        DarknetError: The network cannot be traced, or supports one input size only.
    """
    if dynamic not in (False, True, "batch", "size"):
        raise DarknetError(f"dynamic: expected True, False, 'batch' or 'size', got {dynamic!r}")
    batch, size = dynamic in (True, "batch"), dynamic in (True, "size")
    if size and not module.takes_images:
        raise DarknetError("dynamic size: the input is a vector of fixed length: expected dynamic='batch'")
    count = 2 if batch else 1  # torch.export treats lengths of 1 as constants
    args = (module.example_input(count), *module.initial_state(count))
    if size:
        _check_other_size(module, args)
    shapes: dict[str, Any] = {}
    if batch or size:
        batch_dim = {0: torch.export.Dim("batch")} if batch else {}
        shapes["x"] = batch_dim | (_size_dims(module.network) if size else {})
    if len(args) > 1 and shapes:
        shapes["states"] = tuple(batch_dim for _ in args[1:])
    try:
        with quiet_converters():
            return torch.export.export(module, args, dynamic_shapes=shapes or None)
    except DataError as error:  # a head whose boxes cannot be decoded
        raise DataError(f"heads={module.heads}: {error}: expected heads=raw") from error
    except (RuntimeError, ValueError, TypeError, torch._dynamo.exc.UserError) as error:
        lines = [line.strip(" -") for line in str(error).strip().split("\n") if line.strip()]
        cause = next((line for line in lines if line.startswith("Not all values")), lines[0] if lines else "")
        hint = f" with dynamic={dynamic!r}" if dynamic else ""
        hint += ": dynamic='batch' may work" if size else ""
        raise DarknetError(f"{module.network.config.path}: cannot be traced{hint} ({cause})") from error


def _check_other_size(module: TraceableNetwork, args: tuple[Tensor, ...]) -> None:
    """Run the network on a larger input. Raises DarknetError if it supports one size only."""
    network = module.network
    step = size_multiple(network)
    try:
        with torch.no_grad():
            module(torch.nn.functional.pad(args[0], (0, step, 0, 2 * step)), *args[1:])
    except (RuntimeError, ValueError) as error:
        size = f"{network.shape.width} x {network.shape.height}"
        cause = str(error).partition("\n")[0]
        raise DarknetError(
            f"{network.config.path}: the network has a fixed input size, {size}: "
            f"expected dynamic='batch' or False ({cause})"
        ) from error


def size_multiple(network: Network) -> int:
    """Return the step of a dynamic width and height: the largest stride, if the network's own size is a multiple."""
    stride = _largest_stride(network)
    return 1 if network.shape.height % stride or network.shape.width % stride else stride


def _largest_stride(network: Network) -> int:
    heights = [layer.shape.height for layer in network if min(layer.shape[1:]) > 1]
    return max((network.shape.height // height for height in heights), default=1)


def _size_dims(network: Network) -> dict[int, Any]:
    """Return the dynamic height and width for ``torch.export``, by dimension."""
    step = size_multiple(network)
    minimum = min(_MIN_CELLS * _largest_stride(network), *network.shape[1:])
    rows, columns = (torch.export.Dim(name, min=max(2, minimum // step)) for name in ("rows", "columns"))
    return {2: rows if step == 1 else step * rows, 3: columns if step == 1 else step * columns}
