"""How much each convolution loses in eight bits, simulated in PyTorch one layer at a time.

The signal-to-quantisation-noise ratio (SQNR) of the network's outputs, in decibels, is that of the outputs in float
over their change when this layer alone computes with rounded inputs and weights:
10 log10(sum(y**2) / sum((y - y_int8)**2)), as onnxruntime's ``qdq_loss_debug`` has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..conversion.fuse_bn import fuse_batch_norm
from ..network import Network

_LEVELS = 255  # steps of an activation


def layer_sqnr(
    network: Network,
    layers: Iterable[int],
    inputs: Sequence[Tensor],
    *,
    weight_bits: int = 8,
    rounds_outputs: bool = False,
) -> dict[int, float]:
    """Return the SQNR of the network's outputs in decibels, by the layer that alone is in int8.

    Args:
        network: A stateless network; it is not changed.
        layers: Numbers of convolutional layers.
        inputs: Images, float32 [1, channels, height, width] in 0..1, on any device; the layers run on the CPU.
        weight_bits: Bits of a weight, with sign: 7 or 8.
        rounds_outputs: Whether the output of the layer is rounded too.
    """
    fused = fuse_batch_norm(network).eval().cpu().float().requires_grad_(False)
    inputs = [x.cpu() for x in inputs]
    sqnr = {}
    with torch.inference_mode():
        ranges = {number: (_Range(), _Range() if rounds_outputs else None) for number in layers}
        hooks = [hook for number, pair in ranges.items() for hook in _hooks(fused[number], *pair, _Range.extend)]
        expected = [fused(x) for x in inputs]
        for hook in hooks:
            hook.remove()
        signal = sum(float(y.double().square().sum()) for outputs in expected for y in outputs)
        for number, pair in ranges.items():
            weights = fused[number].get_parameter("weights")
            original = weights.clone()
            weights.copy_(round_weights(original, weight_bits))
            hooks = _hooks(fused[number], *pair, _Range.round)
            noise = 0.0
            for x, outputs in zip(inputs, expected, strict=True):
                pairs = zip(fused(x), outputs, strict=True)
                noise += sum(float((y - other).double().square().sum()) for y, other in pairs)
            for hook in hooks:
                hook.remove()
            weights.copy_(original)
            sqnr[number] = 10 * math.log10(signal / noise) if signal and noise else math.inf
            if math.isnan(noise):
                sqnr[number] = -math.inf
    return sqnr


class _Range:
    """The values of a feature map, and its rounding to eight bits."""

    def __init__(self) -> None:
        self.low = self.high = 0.0

    def extend(self, x: Tensor) -> Tensor:
        """Include the values of ``x``, and return it."""
        low, high = x.aminmax()
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))
        return x

    def round(self, x: Tensor) -> Tensor:
        """Return ``x`` rounded to 256 levels of the range, of which one is 0."""
        scale = max((self.high - self.low) / _LEVELS, 1e-12)
        return torch.fake_quantize_per_tensor_affine(x, scale, round(-self.low / scale), 0, _LEVELS)


def _hooks(
    layer: nn.Module, of_input: _Range, of_output: _Range | None, change: Callable[[_Range, Tensor], Tensor]
) -> list[RemovableHandle]:
    """Apply ``change`` to the first input of a layer, and to its output if it has a range."""
    hooks = [layer.register_forward_pre_hook(lambda _, xs: (change(of_input, xs[0]), *xs[1:]))]
    if of_output is not None:
        hooks.append(layer.register_forward_hook(lambda _, __, y: change(of_output, y)))
    return hooks


def round_weights(weights: Tensor, bits: int) -> Tensor:
    """Round weights [filters, ...] to ``bits`` with sign, with a scale for each filter."""
    limit = 2 ** (bits - 1) - 1
    scale = weights.flatten(1).abs().amax(1).clamp(min=1e-12) / limit
    scale = scale.view(-1, *[1] * (weights.dim() - 1))
    rounded: Tensor = (weights / scale).round().clamp(-limit, limit) * scale
    return rounded
