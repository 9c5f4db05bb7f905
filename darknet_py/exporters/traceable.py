"""A network as a function of tensors alone: what export traces.

Recurrent layers keep a state between calls; here it goes in and comes out. Batch norm is folded, and the
heads' maps may be decoded on the way out.
"""

from __future__ import annotations

import enum
from typing import Any

import torch
from torch import Tensor, nn

from ..conversion.fuse_bn import fold
from ..errors import DarknetError, DataError, WeightsError
from ..network import Network
from ..postprocess import decode_dense
from .quiet import quiet_converters


class Heads(enum.StrEnum):
    """What comes out of an exported network.

    ``raw``: what ``net(x)`` returns. ``boxes``: of all heads together, ``boxes`` [batch, n, 4] (x y w h of
    centre and size, relative to the input) and ``scores`` [batch, n, classes], none left out. ``nms``:
    ``detections`` [n, 7], a row for each box and class that is kept: image, class, probability, x y w h.
    """

    RAW = "raw"
    BOXES = "boxes"
    NMS = "nms"


class Program(nn.Module):
    """``forward(x, *states)``: the outputs, decoded but for ``raw``, and the next states, all of float32.

    ``x``: [batch, channels, height, width] in 0..1, or [batch, inputs]. ``states``: ``start(batch)`` at
    first, then what the call before returned. ``half``: layers compute in float16. ``threshold``: for
    heads whose probabilities depend on one (a tree's). The network given is left alone. Raises DataError
    for heads that it has not or that cannot be decoded statically.
    """

    def __init__(self, network: Network, heads: Heads, *, half: bool = False, threshold: float = 0.25) -> None:
        super().__init__()
        if heads is not Heads.RAW and not network.heads:
            raise DataError(f"heads={heads}: the network has no detection head: expected heads=raw")
        if len({head.classes for head in network.heads}) > 1 and heads is not Heads.RAW:
            raise DataError(f"heads={heads}: the heads have different classes: expected heads=raw")
        if any(tensor.is_meta for tensor in network.state_dict().values()):
            raise WeightsError("the network has no weights")
        self.network = fold(network).eval().cpu().requires_grad_(False)
        self.network.to(torch.float16 if half else torch.float32)
        self.heads, self.half_inside, self.threshold = heads, half, threshold
        self.recurrent = [(i, layer) for i, layer in enumerate(self.network) if layer.stateful]
        shapes = self._state_shapes()
        self.counts = [len(of_layer) for of_layer in shapes]
        self.widths = [shape for of_layer in shapes for shape in of_layer]

    def example(self, batch: int) -> Tensor:
        """A batch of noise in 0..1, the same for every call."""
        shape = self.network.shape
        size = (batch, *shape) if self.is_image else (batch, shape.floats)
        return torch.rand(size, generator=torch.Generator().manual_seed(1))

    @property
    def is_image(self) -> bool:
        """Whether the input has rows and columns; else it is a vector."""
        return max(self.network.shape[1:]) > 1 or self.network.options.width > 0

    def start(self, batch: int) -> tuple[Tensor, ...]:
        """The states before the first call: zeros."""
        return tuple(torch.zeros(batch, *width) for width in self.widths)

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One call."""
        left = list(states)
        for (_, layer), count in zip(self.recurrent, self.counts, strict=True):
            layer.state = tuple(self._inside(part) for part in left[:count])
            del left[:count]
        outputs = [output.float() for output in self.network(self._inside(x))]
        new = [part.float() for _, layer in self.recurrent for part in layer.state or ()]
        self.network.reset()  # a traced program may leave nothing behind
        if self.heads is not Heads.RAW:
            size = (x.shape[3], x.shape[2])
            pairs = decode_dense(self.network, outputs, size, self.threshold)
            outputs = [torch.cat(parts, dim=1) if len(pairs) > 1 else parts[0] for parts in zip(*pairs, strict=True)]
        return (*outputs, *new)

    @property
    def names(self) -> tuple[list[str], list[str]]:
        """What inputs and outputs are called."""
        sections = self.network.config.sections[1:]
        states = [f"state_{i}_{n}" for (i, _), c in zip(self.recurrent, self.counts, strict=True) for n in range(c)]
        if self.heads is Heads.RAW:
            last = [i for i, layer in enumerate(self.network) if layer in self.network.heads] or [len(sections) - 1]
            outputs = [f"{sections[i].name}_{i}" for i in last]
        else:
            outputs = ["boxes", "scores"]
        return ["input", *states], [*outputs, *(f"next_{name}" for name in states)]

    def _inside(self, x: Tensor) -> Tensor:
        return x.half() if self.half_inside else x

    def _state_shapes(self) -> list[list[torch.Size]]:
        """For each stateful layer, the shapes of one image's states."""
        if not self.recurrent:
            return []
        with torch.no_grad():
            self.network(self._inside(self.example(1)))
        shapes = [[part.shape[1:] for part in layer.state or ()] for _, layer in self.recurrent]
        self.network.reset()
        return shapes


def trace(program: Program, dynamic: bool | str) -> torch.export.ExportedProgram:
    """The program as ``torch.export`` sees it; ``dynamic``: ``"batch"``, ``"size"``, True for both, or False.

    Raises DarknetError where the network has one size or cannot be traced.
    """
    if dynamic not in (False, True, "batch", "size"):
        raise DarknetError(f"dynamic: expected True, False, 'batch' or 'size', got {dynamic!r}")
    batch, size = dynamic in (True, "batch"), dynamic in (True, "size")
    if size and not program.is_image:
        raise DarknetError("dynamic size: the input is a vector, which has one length: expected dynamic='batch'")
    count = 2 if batch else 1
    args = (program.example(count), *program.start(count))
    if size:
        _try_another_size(program, args)
    shapes: dict[str, Any] = {}
    if batch or size:
        open_batch = {0: torch.export.Dim("batch")} if batch else {}
        shapes["x"] = open_batch | (_open_size(program.network) if size else {})
    if len(args) > 1 and shapes:
        shapes["states"] = tuple(open_batch for _ in args[1:])
    try:
        with quiet_converters():
            return torch.export.export(program, args, dynamic_shapes=shapes or None)
    except (RuntimeError, ValueError, TypeError, torch._dynamo.exc.UserError) as error:
        lines = [line.strip(" -") for line in str(error).strip().split("\n") if line.strip()]
        cause = next((line for line in lines if line.startswith("Not all values")), lines[0] if lines else "")
        hint = " with an open size; dynamic='batch' may work" if size else f" with dynamic={dynamic!r}" if batch else ""
        raise DarknetError(f"{program.network.config.path}: cannot be traced{hint} ({cause})") from error


def _try_another_size(program: Program, args: tuple[Tensor, ...]) -> None:
    network, step = program.network, stride(program.network)
    try:
        with torch.no_grad():
            program(torch.nn.functional.pad(args[0], (0, step, 0, 2 * step)), *args[1:])
    except (RuntimeError, ValueError) as error:
        size = f"{network.shape.width} x {network.shape.height}"
        cause = str(error).partition("\n")[0]
        raise DarknetError(
            f"{network.config.path}: the network has one size, {size}: expected dynamic='batch' or False ({cause})"
        ) from error


def stride(network: Network) -> int:
    """Pixels of the input that one cell of the smallest map stands for; 1 where the input is no multiple of it."""
    step = _largest_stride(network)
    return 1 if network.shape.height % step or network.shape.width % step else step


def _largest_stride(network: Network) -> int:
    maps = [layer.shape.height for layer in network if min(layer.shape[1:]) > 1]
    return max((network.shape.height // height for height in maps), default=1)


def _open_size(network: Network) -> dict[int, Any]:
    """Rows and columns from four cells of the smallest map on, in whole cells where the input has whole cells."""
    step, least = stride(network), min(4 * _largest_stride(network), *network.shape[1:])
    rows, columns = (torch.export.Dim(name, min=max(2, least // step)) for name in ("rows", "columns"))
    return {2: rows if step == 1 else step * rows, 3: columns if step == 1 else step * columns}
