"""Convert a file of ``torch.export`` to LiteRT by litert-torch; run by ``tflite_conversion`` in a process of its own.

    python -m darknet_py.exporters.litert_process network.pt2 network.tflite [NAME ...]

The NAMEs are those of the outputs. The input is called ``input``; images are [batch, height, width, channels], the
layout of LiteRT's kernels and of the frames of cameras.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class NamedChannelsLast(nn.Module):
    """A module that takes images with their channels last, and returns its outputs by name."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self.names = list(names)

    def forward(self, input: Tensor) -> dict[str, Tensor]:  # its name is that of the input in the file
        """Float [batch, height, width, channels] or [batch, inputs]."""
        # contiguous: the traced network views its maps ([reorg]), which must not be channels_last then.
        outputs = self.module(input.permute(0, 3, 1, 2).contiguous() if input.dim() == 4 else input)
        return dict(zip(self.names, outputs, strict=True))


def convert(source: str, target: str, names: Sequence[str]) -> None:
    """Write ``target``."""
    import litert_torch

    litert_torch.config.show_progress = False
    program = torch.export.load(source).run_decompositions({})  # functional: no operation changes its input
    shape = next(
        node.meta["val"].shape
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs
    )
    x = torch.zeros(tuple(shape))
    x = x.permute(0, 2, 3, 1).contiguous() if x.dim() == 4 else x
    module = NamedChannelsLast(program.module(), names)
    litert_torch.convert(module, sample_kwargs={"input": x}).export(target)


if __name__ == "__main__":
    convert(sys.argv[1], sys.argv[2], sys.argv[3:])
