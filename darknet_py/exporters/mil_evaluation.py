"""Evaluate an ML program, the form of a network in Core ML, with PyTorch: operation by operation, as MIL defines them.

Core ML runs on macOS only. What runs everywhere is the program that Core ML would compile: coremltools reads it back
from the file, and this module computes it. So the conversion is checked, and Core ML's own arithmetic is not.

MIL's operations: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..errors import DarknetError

_TYPES = {"fp16": torch.float16, "fp32": torch.float32, "int32": torch.int64, "bool": torch.bool}
_UNARY = (
    *("abs", "ceil", "cos", "exp", "floor", "logical_not", "relu"),
    *("sigmoid", "sign", "sin", "sqrt", "square", "tanh"),
)
_BINARY = {
    "add": "add",
    "equal": "eq",
    "floor_div": "floor_divide",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "logical_and": "logical_and",
    "logical_or": "logical_or",
    "maximum": "maximum",
    "minimum": "minimum",
    "mod": "remainder",
    "mul": "mul",
    "not_equal": "ne",
    "pow": "pow",
    "real_div": "true_divide",
    "sub": "sub",
}
_REDUCTIONS = {"reduce_max": "amax", "reduce_mean": "mean", "reduce_min": "amin", "reduce_sum": "sum"}


def evaluate(function: Any, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Compute the outputs of a function of an ML program.

    Args:
        function: A function of ``coremltools``' ``Program``.
        inputs: Its inputs by name.

    Returns:
        Its outputs by name.

    Raises:
        DarknetError: The program has an operation that is not known here, or has several blocks.
    """
    values: dict[str, Any] = {variable.name: inputs[name] for name, variable in function.inputs.items()}
    for operation in function.operations:
        if operation.op_type == "const":
            continue
        arguments = {name: _value(getattr(operation, name, None), values) for name in operation.input_spec.input_types}
        results = _compute(operation.op_type, arguments)
        results = results if isinstance(results, list) else [results]
        values |= {variable.name: result for variable, result in zip(operation.outputs, results, strict=True)}
    return {variable.name: _value(variable, values) for variable in function.outputs}


def _value(variable: Any, values: Mapping[str, Any]) -> Any:
    """The value of an argument: a tensor, a list of them, or of a constant what is no tensor of numbers as it is."""
    if variable is None:
        return None
    if isinstance(variable, list | tuple):
        return [_value(part, values) for part in variable]
    if variable.name in values:
        return values[variable.name]
    value = variable.val
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiub":
        return torch.from_numpy(np.array(value))
    return value


def _compute(kind: str, arguments: dict[str, Any]) -> Any:
    if kind in _UNARY:
        return getattr(torch, kind)(arguments["x"])
    if kind in _BINARY:
        return getattr(torch, _BINARY[kind])(arguments["x"], arguments["y"])
    if kind in _REDUCTIONS:
        x, axes = arguments["x"], arguments["axes"]
        dims = list(range(x.dim())) if axes is None else axes.tolist()
        return getattr(x, _REDUCTIONS[kind])(dims, keepdim=bool(arguments["keep_dims"]))
    compute = getattr(Operations, kind, None)
    if compute is None:
        raise DarknetError(f"the ML program has the operation {kind}, which is not evaluated here")
    return compute(**arguments)


class Operations:
    """Operations of MIL with more than elementwise arithmetic; the arguments are MIL's."""

    @staticmethod
    def avg_pool(x: Tensor, kernel_sizes: Tensor, strides: Tensor, pad_type: str, pad: Tensor, **others: Any) -> Tensor:
        """2d only."""
        _require(not others["ceil_mode"], "avg_pool with ceil_mode")
        counted = not others["exclude_padding_from_average"]
        before, after = _pads(x, pad_type, pad, kernel_sizes, strides)
        ones = functional.pad(torch.ones_like(x), _torch_pads(before, after), value=float(counted))
        padded = functional.pad(x, _torch_pads(before, after))
        size, steps = kernel_sizes.tolist(), strides.tolist()
        return functional.avg_pool2d(padded, size, steps) / functional.avg_pool2d(ones, size, steps)

    @staticmethod
    def batch_norm(
        x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor | None, beta: Tensor | None, epsilon: Tensor
    ) -> Tensor:
        """Inference."""
        return functional.batch_norm(x, mean, variance, gamma, beta, eps=float(epsilon))

    @staticmethod
    def cast(x: Tensor, dtype: str) -> Tensor:
        """Another type."""
        return x.to(_TYPES[dtype])

    @staticmethod
    def clip(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        """At least alpha, at most beta."""
        return x.clamp(float(alpha), float(beta))

    @staticmethod
    def concat(values: list[Tensor], axis: Tensor, interleave: Any) -> Tensor:
        """One after the other."""
        _require(not interleave, "concat with interleave")
        return torch.cat([value.reshape(-1) if value.dim() == 0 else value for value in values], int(axis))

    @staticmethod
    def conv(
        x: Tensor, weight: Tensor, bias: Tensor | None, strides: Tensor, pad_type: str, pad: Tensor, **others: Any
    ) -> Tensor:
        """1d and 2d."""
        kernel = torch.tensor(weight.shape[2:])
        dilations = others["dilations"]
        before, after = _pads(x, pad_type, pad, (kernel - 1) * dilations + 1, strides)
        padded = functional.pad(x, _torch_pads(before, after))
        convolve = functional.conv2d if x.dim() == 4 else functional.conv1d
        return convolve(padded, weight, bias, strides.tolist(), 0, dilations.tolist(), int(others["groups"]))

    @staticmethod
    def conv_transpose(
        x: Tensor, weight: Tensor, bias: Tensor | None, strides: Tensor, pad_type: str, pad: Tensor, **others: Any
    ) -> Tensor:
        """2d; the output's padding is what is cut off."""
        _require(pad_type in ("valid", "custom") and others["output_shape"] is None, "conv_transpose of a given shape")
        y = functional.conv_transpose2d(
            x, weight, bias, strides.tolist(), 0, 0, int(others["groups"]), others["dilations"].tolist()
        )
        top, bottom, left, right = [0, 0, 0, 0] if pad_type == "valid" else pad.tolist()
        return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]

    @staticmethod
    def elu(x: Tensor, alpha: Tensor) -> Tensor:
        """Exponential below 0."""
        return functional.elu(x, float(alpha))

    @staticmethod
    def expand_dims(x: Tensor, axes: Tensor) -> Tensor:
        """New axes of length 1, counted in the result."""
        for axis in sorted(a % (x.dim() + len(axes)) for a in axes.tolist()):
            x = x.unsqueeze(axis)
        return x

    @staticmethod
    def gather(x: Tensor, indices: Tensor, axis: Tensor, batch_dims: Any = None, **_: Any) -> Tensor:
        """Slices of an axis; iOS 13's has no ``batch_dims`` and ``validate_indices``."""
        _require(not batch_dims, "gather with batch_dims")
        dim = int(axis) % x.dim()
        picked = x.index_select(dim, indices.reshape(-1).long() % x.shape[dim])
        return picked.reshape(*x.shape[:dim], *indices.shape, *x.shape[dim + 1 :])

    @staticmethod
    def gather_along_axis(x: Tensor, indices: Tensor, axis: Tensor, **_: Any) -> Tensor:
        """One value for each index."""
        return x.gather(int(axis), indices.long() % x.shape[int(axis)])

    @staticmethod
    def gelu(x: Tensor, mode: str) -> Tensor:
        """Exact or by tanh."""
        return functional.gelu(x, approximate="none" if mode == "EXACT" else "tanh")

    @staticmethod
    def identity(x: Tensor) -> Tensor:
        """The same."""
        return x

    @staticmethod
    def leaky_relu(x: Tensor, alpha: Tensor) -> Tensor:
        """Alpha times x below 0."""
        return functional.leaky_relu(x, float(alpha))

    @staticmethod
    def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Of the last axis."""
        return functional.linear(x, weight, bias)

    @staticmethod
    def local_response_norm(x: Tensor, size: Tensor, alpha: Tensor, beta: Tensor, k: Tensor) -> Tensor:
        """Across channels."""
        return functional.local_response_norm(x, int(size), float(alpha), float(beta), float(k))

    @staticmethod
    def log(x: Tensor, epsilon: Tensor) -> Tensor:
        """Natural logarithm."""
        return (x + float(epsilon)).log()

    @staticmethod
    def matmul(x: Tensor, y: Tensor, transpose_x: Any, transpose_y: Any) -> Tensor:
        """Of the last two axes."""
        return torch.matmul(x.mT if transpose_x else x, y.mT if transpose_y else y)

    @staticmethod
    def max_pool(
        x: Tensor, kernel_sizes: Tensor, strides: Tensor, pad_type: str, pad: Tensor, ceil_mode: Any
    ) -> Tensor:
        """2d only."""
        before, after = _pads(x, pad_type, pad, kernel_sizes, strides)
        padded = functional.pad(x, _torch_pads(before, after), value=-torch.inf)
        return functional.max_pool2d(padded, kernel_sizes.tolist(), strides.tolist(), ceil_mode=bool(ceil_mode))

    @staticmethod
    def pad(x: Tensor, pad: Tensor, mode: str, constant_val: Tensor) -> Tensor:
        """The last axes; ``pad`` is their lengths before and after, the first axis first."""
        pairs = pad.reshape(-1, 2).tolist()
        flat = [length for pair in reversed(pairs) for length in pair]
        kind = {"constant": "constant", "reflect": "reflect", "replicate": "replicate"}[mode]
        return functional.pad(x, flat, kind, **({"value": float(constant_val)} if kind == "constant" else {}))

    @staticmethod
    def prelu(x: Tensor, alpha: Tensor) -> Tensor:
        """A slope for each channel."""
        return functional.prelu(x, alpha)

    @staticmethod
    def range_1d(start: Tensor, end: Tensor, step: Tensor) -> Tensor:
        """Numbers from start to below end."""
        return torch.arange(start.item(), end.item(), step.item())

    @staticmethod
    def reduce_argmax(x: Tensor, axis: Tensor, keep_dims: Any, **others: Any) -> Tensor:
        """Index of the largest value."""
        return x.argmax(int(axis), keepdim=bool(keep_dims))

    @staticmethod
    def reduce_l2_norm(x: Tensor, axes: Tensor, keep_dims: Any) -> Tensor:
        """Square root of the sum of squares."""
        return x.square().sum(axes.tolist(), keepdim=bool(keep_dims)).sqrt()

    @staticmethod
    def reduce_sum_square(x: Tensor, axes: Tensor, keep_dims: Any) -> Tensor:
        """Sum of squares."""
        return x.square().sum(axes.tolist(), keepdim=bool(keep_dims))

    @staticmethod
    def relu6(x: Tensor) -> Tensor:
        """Between 0 and 6."""
        return x.clamp(0, 6)

    @staticmethod
    def reshape(x: Tensor, shape: Tensor) -> Tensor:
        """0 keeps a length, -1 is what remains."""
        lengths = [x.shape[i] if length == 0 else length for i, length in enumerate(shape.tolist())]
        return x.reshape(lengths)

    @staticmethod
    def rsqrt(x: Tensor, epsilon: Tensor) -> Tensor:
        """Inverse of the square root."""
        return (x + float(epsilon)).rsqrt()

    @staticmethod
    def inverse(x: Tensor, epsilon: Tensor) -> Tensor:
        """Reciprocal."""
        return (x + float(epsilon)).reciprocal()

    @staticmethod
    def scatter_along_axis(data: Tensor, indices: Tensor, updates: Tensor, axis: Tensor, mode: str, **_: Any) -> Tensor:
        """One value for each index."""
        _require(mode == "update", "scatter_along_axis that does not replace")
        return data.scatter(int(axis), indices.long(), updates)

    @staticmethod
    def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """a where cond, else b."""
        return torch.where(cond.bool(), a, b)

    @staticmethod
    def sigmoid_hard(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        """Linear between 0 and 1."""
        return (float(alpha) * x + float(beta)).clamp(0, 1)

    @staticmethod
    def silu(x: Tensor) -> Tensor:
        """x * sigmoid(x)."""
        return functional.silu(x)

    @staticmethod
    def slice_by_index(x: Tensor, begin: Tensor, end: Tensor, stride: Any, **masks: Any) -> Tensor:
        """numpy's slices; squeezed axes take one index. ``masks``: begin_mask, end_mask, squeeze_mask."""

        def masked(name: str) -> list[bool]:
            return [False] * x.dim() if masks[name] is None else masks[name].tolist()

        steps = [1] * x.dim() if stride is None else stride.tolist()
        _require(min(steps) > 0, "slice_by_index backwards")
        columns = (begin.tolist(), end.tolist(), steps, *map(masked, ("begin_mask", "end_mask", "squeeze_mask")))
        index: list[int | slice] = []
        for first, last, step, from_start, to_end, is_single in zip(*columns, strict=True):
            part = slice(None if from_start else first, None if to_end else last, step)
            index.append(first if is_single else part)
        return x[tuple(index)]

    @staticmethod
    def slice_by_size(x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
        """-1: to the end."""
        for axis, (first, length) in enumerate(zip(begin.tolist(), size.tolist(), strict=True)):
            x = x.narrow(axis, first, x.shape[axis] - first if length == -1 else length)
        return x

    @staticmethod
    def softmax(x: Tensor, axis: Tensor) -> Tensor:
        """Of one axis."""
        return x.softmax(int(axis))

    @staticmethod
    def softplus(x: Tensor) -> Tensor:
        """log(1 + exp(x)), without a limit."""
        return torch.logaddexp(x, torch.zeros_like(x))

    @staticmethod
    def split(x: Tensor, num_splits: Any, split_sizes: Any, axis: Tensor) -> list[Tensor]:
        """Into equal parts or given ones."""
        if split_sizes is not None:
            return list(x.split(split_sizes.tolist(), int(axis)))
        return list(x.chunk(int(num_splits), int(axis)))

    @staticmethod
    def squeeze(x: Tensor, axes: Tensor | None) -> Tensor:
        """Axes of length 1."""
        return x.squeeze() if axes is None else x.squeeze(axes.tolist())

    @staticmethod
    def stack(values: list[Tensor], axis: Tensor) -> Tensor:
        """Along a new axis."""
        return torch.stack(values, int(axis))

    @staticmethod
    def tile(x: Tensor, reps: Tensor) -> Tensor:
        """Repetitions of each axis."""
        return x.tile(reps.tolist())

    @staticmethod
    def transpose(x: Tensor, perm: Tensor) -> Tensor:
        """Axes in another order."""
        return x.permute(perm.tolist())

    @staticmethod
    def upsample_bilinear(x: Tensor, scale_factor_height: Any, scale_factor_width: Any, **others: Any) -> Tensor:
        """2d."""
        height, width = x.shape[2:]
        size = (round(height * float(scale_factor_height)), round(width * float(scale_factor_width)))
        corners = bool(others["align_corners"])
        return functional.interpolate(x, size, mode="bilinear", align_corners=corners)

    @staticmethod
    def upsample_nearest_neighbor(x: Tensor, scale_factor_height: Any, scale_factor_width: Any) -> Tensor:
        """2d."""
        height, width = x.shape[2:]
        size = (round(height * float(scale_factor_height)), round(width * float(scale_factor_width)))
        return functional.interpolate(x, size, mode="nearest")


def _pads(x: Tensor, pad_type: str, pad: Tensor | None, kernel: Tensor, strides: Tensor) -> tuple[list[int], list[int]]:
    """Padding before and after each axis of a window."""
    count = len(kernel)
    if pad_type == "valid":
        return [0] * count, [0] * count
    if pad_type == "custom" and pad is not None:
        return pad[0::2].tolist(), pad[1::2].tolist()
    _require(pad_type in ("same", "same_lower"), f"padding {pad_type}")
    before, after = [], []
    for length, size, step in zip(x.shape[2:], kernel.tolist(), strides.tolist(), strict=True):
        total = max((-(-length // step) - 1) * step + size - length, 0)
        small, large = total // 2, total - total // 2
        before.append(large if pad_type == "same_lower" else small)
        after.append(small if pad_type == "same_lower" else large)
    return before, after


def _torch_pads(before: list[int], after: list[int]) -> list[int]:
    """``torch.nn.functional.pad`` wants the last axis first."""
    return [length for pair in reversed(list(zip(before, after, strict=True))) for length in pair]


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise DarknetError(f"the ML program has {what}, which is not evaluated here")
