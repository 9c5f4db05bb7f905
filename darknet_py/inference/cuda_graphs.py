"""``Graphs``: CUDA graphs of a network, one for each input shape.

A small network on a fast GPU waits for Python to launch each kernel; a CUDA graph launches all of them at once.
https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_WARM_UP = 3  # runs before the recording, in which cuDNN chooses its kernels
_MAX_RECORDINGS = 4  # each holds the memory of all its maps


class _Recording(NamedTuple):
    graph: torch.cuda.CUDAGraph
    x: Tensor
    outputs: list[Tensor]


class Graphs:
    """Record ``run``, a stateless function of images on a GPU, once for each input shape and replay it."""

    def __init__(self, run: Callable[[Tensor], list[Tensor]]) -> None:
        self.run = run
        self._lock = threading.Lock()
        self._recordings: dict[torch.Size, _Recording] = {}

    def __call__(self, x: Tensor) -> list[Tensor]:
        """Return what ``run(x)`` returns, in newly allocated memory."""
        with self._lock:  # a recording has one input and one set of outputs
            if x.shape not in self._recordings:
                while len(self._recordings) >= _MAX_RECORDINGS:
                    del self._recordings[next(iter(self._recordings))]
                self._recordings[x.shape] = self._record(x)
            recording = self._recordings[x.shape]
            recording.x.copy_(x)
            recording.graph.replay()
            return [y.clone() for y in recording.outputs]

    def _record(self, x: Tensor) -> _Recording:
        # Tensors created in inference mode could not be written to outside of it.
        with torch.inference_mode(False), torch.no_grad(), torch.cuda.device(x.device):
            static = torch.empty_like(x).copy_(x)
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UP):
                    self.run(static)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                outputs = self.run(static)
        return _Recording(graph, static, outputs)
