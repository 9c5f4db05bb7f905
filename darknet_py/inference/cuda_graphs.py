"""``Graphs``: a network's calls to a GPU recorded once for each input shape, and given to it again as one.

A small network on a fast GPU waits for Python to say what comes next; a CUDA graph says it all at once.
https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_WARM = 3  # runs in which cuDNN chooses its kernels, which must not be recorded
_SHAPES = 4  # recordings kept: each holds the memory of all its maps


class _Recording(NamedTuple):
    graph: torch.cuda.CUDAGraph
    x: Tensor
    outputs: list[Tensor]


class Graphs:
    """``run``, a function of images on a GPU without memory of earlier calls, as recordings by shape."""

    def __init__(self, run: Callable[[Tensor], list[Tensor]]) -> None:
        self.run = run
        self._recordings: dict[torch.Size, _Recording] = {}

    def __call__(self, x: Tensor) -> list[Tensor]:
        """What ``run(x)`` returns, in memory of its own."""
        if x.shape not in self._recordings:
            while len(self._recordings) >= _SHAPES:
                del self._recordings[next(iter(self._recordings))]
            self._recordings[x.shape] = self._record(x)
        recording = self._recordings[x.shape]
        recording.x.copy_(x)
        recording.graph.replay()
        return [y.clone() for y in recording.outputs]

    def _record(self, x: Tensor) -> _Recording:
        # Tensors of inference mode could not be written to outside of it.
        with torch.inference_mode(False), torch.no_grad(), torch.cuda.device(x.device):
            held = torch.empty_like(x).copy_(x)
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(_WARM):
                    self.run(held)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                outputs = self.run(held)
        return _Recording(graph, held, outputs)
