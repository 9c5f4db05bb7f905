"""Each activation against an independent formula in double precision, also for large inputs."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from darknet_py.activations import Activation
from darknet_py.errors import ConfigError
from darknet_py.layers import LAYERS
from tests.helpers.random_networks import options_of, random

Array = NDArray[np.float64]

FORMULAS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "logistic": lambda x: 0.5 + 0.5 * np.tanh(x / 2),
    "loggy": lambda x: np.tanh(x / 2),
    "relu": lambda x: (np.abs(x) + x) / 2,
    "relu6": lambda x: np.clip(x, 0, 6),
    "elu": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    "selu": lambda x: 1.0507 * np.where(x < 0, 1.6732 * np.expm1(np.minimum(x, 0)), x),
    "gelu": lambda x: x / (1 + np.exp(-2 * np.clip(0.797885 * x + 0.035677 * x**3, -300, 300))),
    "relie": lambda x: np.maximum(x, 0.01 * x),
    "ramp": lambda x: np.maximum(1.1 * x, 0.1 * x),
    "leaky": lambda x: np.maximum(x, 0.1 * x),
    "revleaky": lambda x: np.maximum(x, 0.1 * x),
    "tanh": lambda x: 2 / (1 + np.exp(-2 * np.clip(x, -300, 300))) - 1,
    "plse": lambda x: np.select([x < -4, x > 4], [0.01 * (x + 4), 0.01 * (x - 4) + 1], 0.125 * x + 0.5),
    "stair": lambda x: np.where(np.mod(np.floor(x), 2) == 0, np.floor(x / 2), x - np.floor(x) + np.floor(x / 2)),
    "hardtan": lambda x: np.clip(x, -1, 1),
    "lhtan": lambda x: np.select([x < 0, x > 1], [0.001 * x, 0.001 * (x - 1) + 1], x),
    "swish": lambda x: x * (0.5 + 0.5 * np.tanh(x / 2)),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "hswish": lambda x: np.select([x < -3, x > 3], [0.0, x], x * (x + 3) / 6),
    "hsigmoid": lambda x: np.select([x < -3, x > 3], [0.0, 1.0], (x + 3) / 6),
    "relu10": lambda x: np.minimum(np.maximum(x, 0), 10),
    "softplus": lambda x: np.logaddexp(0, x),
    "hard_mish": lambda x: np.select([x > 0, x > -2], [x, x * x / 2 + x], 0.0),
    "normalize_channels": lambda x: np.maximum(x, 0) / (1e-4 + np.maximum(x, 0).sum(axis=1, keepdims=True)),
    "normalize_channels_softmax": lambda x: np.exp(x) / (1e-4 + np.exp(x).sum(axis=1, keepdims=True)),
    "normalize_channels_softmax_maxval": lambda x: (
        np.exp(x - x.max(axis=1, keepdims=True))
        / (1e-4 + np.exp(x - x.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True))
    ),
}
ACROSS = [kind for kind in Activation if kind.startswith("normalize_channels")]

each_kind = pytest.mark.parametrize("kind", Activation)


def test_every_activation_has_a_formula_here() -> None:
    assert {str(kind) for kind in Activation} == set(FORMULAS)


@each_kind
def test_values_equal_the_formula(kind: Activation) -> None:
    corners = torch.tensor([-6.0, -4, -2, -1, -0.5, -0.0, 0, 0.5, 1, 2, 4, 6])
    x = torch.cat((random(500, low=-9, high=9), corners)).view(1, 8, 8, 8).expand(2, -1, -1, -1).contiguous()
    x[1] *= 0.1
    expected = FORMULAS[kind](x.numpy().astype(np.float64))
    y = kind(x)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    np.testing.assert_allclose(y.numpy(), expected, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(kind(x.double()).numpy(), expected, rtol=1e-12, atol=1e-12)


@each_kind
@pytest.mark.parametrize("size", [20.5, 89.0, 1e4, 1e8])
def test_large_inputs_give_finite_values_and_gradients(kind: Activation, size: float) -> None:
    x = torch.tensor([[size, -size, size / 2], [-size, -size, -size], [size, size, size], [-size, 1, 0]])
    x.requires_grad_()
    y = kind(x)
    assert y.isfinite().all()
    with np.errstate(over="ignore", invalid="ignore"):
        expected = FORMULAS[kind](x.detach().numpy().astype(np.float64))
    known = np.isfinite(expected)
    np.testing.assert_allclose(y.detach().numpy()[known], expected[known], rtol=1e-5, atol=1e-6)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@each_kind
def test_the_input_is_not_modified(kind: Activation) -> None:
    x = random(2, 4, 3, 3, low=-5, high=5)
    before = x.clone()
    kind(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("kind", ACROSS)
def test_channel_activations_normalise_each_cell(kind: Activation) -> None:
    x = random(2, 4, 3, 3, low=-5, high=5)
    whole = kind(x)
    for row in range(3):
        assert torch.equal(whole[:, :, row], kind(x[:, :, row : row + 1])[:, :, 0])
    assert (whole.sum(dim=1) < 1).all()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("silu", Activation.SWISH),
        ("sigmoid", Activation.LOGISTIC),
        ("none", Activation.LINEAR),
        ("h_swish", Activation.HSWISH),
        ("hard_swish", Activation.HSWISH),
        ("h_sigmoid", Activation.HSIGMOID),
    ],
)
def test_other_names_of_an_activation(name: str, kind: Activation) -> None:
    assert Activation(name) is kind
    options = options_of("activation", {"activation": name})
    assert isinstance(options, LAYERS["activation"].Options)
    assert getattr(options, "activation") is kind  # noqa: B009 (the type of the options is not known)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("swihs", " (did you mean 'swish'?)"),
        ("Leaky", " (did you mean 'leaky'?)"),
        ("sigmod", " (did you mean 'sigmoid'?)"),
        ("hardtanh", " (did you mean 'hardtan'?)"),
        ("identity", " (did you mean 'linear'?)"),
        ("prelu", ""),
        ("celu", ""),
        ("softsign", ""),
        ("rrelu", ""),
    ],
)
def test_a_suggestion_has_the_same_meaning(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"got {name!r}{re.escape(hint)}$"):
        options_of("activation", {"activation": name})


@pytest.mark.parametrize("name", ["sigmoids", "prelu", "Leaky", ""])
def test_names_that_darknet_does_not_have(name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid Activation"):
        Activation(name)
