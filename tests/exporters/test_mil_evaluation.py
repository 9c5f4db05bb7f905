"""The operations of ML programs: what MIL's manual says, and coremltools' own values of constants."""

from __future__ import annotations

import types
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from darknet_py.errors import DarknetError
from darknet_py.exporters import mil_evaluation
from tests.helpers.random_networks import random


def compute(kind: str, **arguments: Any) -> Any:
    """Evaluate a program of one operation; numbers and lists are constants."""
    given = {name: value for name, value in arguments.items() if isinstance(value, Tensor)}
    inputs = {name: types.SimpleNamespace(name=name, val=None) for name in given}

    def argument(name: str) -> Any:
        value = arguments[name]
        if value is None:
            return None
        return inputs.get(name) or types.SimpleNamespace(
            name=f"{name}_constant", val=value if isinstance(value, str) else np.array(value)
        )

    result = types.SimpleNamespace(name="result")
    operation = types.SimpleNamespace(
        op_type=kind, input_spec=types.SimpleNamespace(input_types=dict.fromkeys(arguments)), outputs=[result]
    )
    for name in arguments:
        setattr(operation, name, argument(name))
    function = types.SimpleNamespace(inputs=inputs, operations=[operation], outputs=[result])
    return mil_evaluation.evaluate(function, given)["result"]


def test_padding_of_windows() -> None:
    x, weight = random(1, 4, 7, 6), random(6, 2, 3, 2)
    options = {"dilations": [1, 1], "groups": 2, "bias": None}
    custom = compute("conv", x=x, weight=weight, strides=[2, 1], pad_type="custom", pad=[1, 0, 2, 1], **options)
    assert torch.equal(custom, functional.conv2d(functional.pad(x, (2, 1, 1, 0)), weight, stride=(2, 1), groups=2))
    # "same": ceil(length / stride) outputs, the odd cell of padding after (lower: before) the values.
    same = compute("conv", x=x, weight=weight, strides=[2, 1], pad_type="same", pad=[0] * 4, **options)
    lower = compute("conv", x=x, weight=weight, strides=[2, 1], pad_type="same_lower", pad=[0] * 4, **options)
    for y, columns in ((same, (0, 1)), (lower, (1, 0))):
        padded = functional.pad(x, (*columns, 1, 1))
        assert torch.equal(y, functional.conv2d(padded, weight, stride=(2, 1), groups=2))
    assert same.shape == (1, 6, 4, 6)


def test_pooling_pads_with_nothing() -> None:
    x = -random(1, 2, 5, 5, low=0.1)  # negative: a zero of the padding would win
    options = {"kernel_sizes": [3, 3], "strides": [2, 2], "pad_type": "custom", "pad": [1, 1, 1, 1], "ceil_mode": False}
    assert torch.equal(compute("max_pool", x=x, **options), functional.max_pool2d(x, 3, 2, 1))
    for excluded in (True, False):
        y = compute("avg_pool", x=x, exclude_padding_from_average=excluded, **options)
        wanted = functional.avg_pool2d(x, 3, 2, 1, count_include_pad=not excluded)
        torch.testing.assert_close(y, wanted)


def test_slices_are_numpys() -> None:
    x = random(4, 6, 5)
    masks = {"begin_mask": [False, True, False], "end_mask": [False, False, True], "squeeze_mask": [True, False, False]}
    y = compute("slice_by_index", x=x, begin=[2, 9, -4], end=[3, -1, 0], stride=[1, 2, 1], **masks)
    assert torch.equal(y, x[2, :-1:2, -4:])


def test_a_transposed_convolution_is_cut() -> None:
    x, weight = random(1, 3, 4, 5), random(3, 2, 3, 3)
    options = {"dilations": [1, 1], "groups": 1, "output_shape": None, "bias": None}
    y = compute("conv_transpose", x=x, weight=weight, strides=[2, 2], pad_type="custom", pad=[1, 0, 1, 0], **options)
    wanted = functional.conv_transpose2d(x, weight, stride=2, padding=1, output_padding=1)
    torch.testing.assert_close(y, wanted)


def test_unknown_operations_are_named() -> None:
    with pytest.raises(DarknetError, match="the ML program has the operation lstm, which is not evaluated here"):
        compute("lstm", x=random(1, 2))
    with pytest.raises(DarknetError, match="concat with interleave, which is not evaluated here"):
        mil_evaluation.Operations.concat([random(1, 2)], torch.tensor(0), True)


def test_values_are_those_of_coremltools() -> None:
    """coremltools computes operations of constants itself, in numpy."""
    pytest.importorskip("coremltools", reason="the extra coreml is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from coremltools.converters.mil.mil import Builder, Program

    x = random(2, 3, 4).numpy()
    calls: list[tuple[str, dict[str, Any]]] = [
        *((kind, {"x": x}) for kind in ("abs", "exp", "floor", "relu", "sigmoid", "sign", "square", "tanh")),
        *((kind, {"x": x, "y": x + np.float32(0.5)}) for kind in ("add", "maximum", "mul", "real_div", "sub", "less")),
        *((kind, {"x": x, "axes": [1], "keep_dims": True}) for kind in ("reduce_max", "reduce_mean", "reduce_sum")),
        ("clip", {"x": x, "alpha": np.float32(-0.2), "beta": np.float32(0.3)}),
        ("concat", {"values": (x, x + 1), "axis": 1}),
        ("elu", {"x": x, "alpha": np.float32(0.7)}),
        ("expand_dims", {"x": x, "axes": [1, -1]}),
        ("gather", {"x": x, "indices": [3, 0], "axis": 2}),
        ("leaky_relu", {"x": x, "alpha": np.float32(0.1)}),
        ("relu6", {"x": x * 20}),
        ("reshape", {"x": x, "shape": [4, -1]}),
        ("slice_by_index", {"x": x, "begin": [0, 1, 0], "end": [2, 3, 3], "stride": [1, 1, 2]}),
        ("slice_by_size", {"x": x, "begin": [0, 1, 1], "size": [2, 1, -1]}),
        ("softplus", {"x": x}),
        ("tile", {"x": x, "reps": [1, 2, 1]}),
        ("transpose", {"x": x, "perm": [2, 0, 1]}),
    ]
    compared = []

    def build(unused: Any) -> Any:
        for kind, arguments in calls:
            operation = getattr(Builder, kind)(**arguments)
            compared.append((kind, operation.val, operation.op))
        return Builder.identity(x=unused)

    program = Builder.program(input_specs=[Builder.TensorSpec(shape=(1,))])(build)
    assert isinstance(program, Program)
    for kind, value, operation in compared:
        function = types.SimpleNamespace(inputs={}, operations=[operation], outputs=operation.outputs)
        (result,) = mil_evaluation.evaluate(function, {}).values()
        assert value is not None, kind
        np.testing.assert_allclose(result.numpy(), value, rtol=1e-5, atol=1e-6, err_msg=kind)
