"""The contract of every section type, tested on the samples of helpers/layer_samples.py."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import typing
from dataclasses import MISSING, is_dataclass

import pytest
import torch
from torch import Tensor

from darknet_py.cfg import schema, values
from darknet_py.cfg.net_section import Net
from darknet_py.layers import LAYERS, Layer, Shape
from tests.helpers import random_networks
from tests.helpers.layer_samples import SAMPLES, Sample

KINDS = sorted(set(LAYERS.values()), key=lambda kind: kind.names)
FREE_OF_INPUT = ("contrastive", "implicit", "implicit_add", "implicit_mul")  # the output does not depend on the input
DETACHING = ("route2",)  # all inputs but the first get no gradient

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.names[0])
each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=str)


def inputs(sample: Sample, batch: int = 2, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [random_networks.random(batch, *shape, seed=7 + i).to(dtype) for i, shape in enumerate(sample.inputs)]


@torch.no_grad()
def run(layer: Layer, xs: list[Tensor]) -> Tensor:
    layer.reset()
    y = layer(*xs)
    assert isinstance(y, Tensor)
    return y


def run_twice(layer: Layer, xs: list[Tensor]) -> Tensor:
    """Return the output of a second call, which depends on the state that the first one left."""
    run(layer, xs)
    with torch.no_grad():
        y = layer(*xs)
    assert isinstance(y, Tensor)
    return y.clone()


def test_every_section_has_a_sample() -> None:
    assert {sample.kind for sample in SAMPLES} == set(KINDS)


@each_kind
def test_names_and_module_docstring(kind: type[Layer]) -> None:
    assert kind.__doc__
    assert kind.names
    assert all(LAYERS[name] is kind for name in kind.names)
    module = inspect.getmodule(kind)
    assert module is not None
    assert f"[{kind.names[0]}]" in (module.__doc__ or "")
    assert kind.__name__.lower().removesuffix("layer") == kind.names[0].replace("_", "").lower()
    assert module.__name__.rpartition(".")[2] == kind.names[0].lower()


@each_kind
def test_its_options_are_documented(kind: type[Layer]) -> None:
    assert is_dataclass(kind.Options)
    assert kind.Options.__doc__
    for key, known in schema.keys(kind.Options).items():
        doc = known.metadata["doc"]
        assert doc, key
        assert doc[0] not in " .", key
        assert not doc.endswith("."), key
        assert known.default is not None or "None" in str(known.type), key


@pytest.mark.parametrize("kind", [*(layer.Options for layer in KINDS), Net], ids=lambda kind: kind.__qualname__)
def test_its_options_can_be_read_from_text(kind: type[schema.Options]) -> None:
    hints = typing.get_type_hints(kind)
    for key, known in schema.keys(kind).items():
        hint = hints[known.name]
        default = () if known.default is MISSING else known.default
        text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
        if isinstance(default, bool):
            text = str(int(default))
        if default in ((), None):
            text = "1"  # an absent file, or a list without a default
        value, rest = values.convert(hint, text, text, (known.metadata["min"], known.metadata["max"]))
        assert not rest, key
        assert default in ((), None) or value == default, key
        assert default in ((), None) or type(value) is type(default) or isinstance(default, int), key


@each_sample
def test_the_declared_shape_is_the_real_one(sample: Sample) -> None:
    layer = sample.build()
    assert isinstance(layer.shape, Shape)
    assert all(type(n) is int for n in layer.shape)
    for batch in (1, 3):
        assert run(layer, inputs(sample, batch)).shape == (batch, *layer.shape)


@each_sample
def test_images_of_a_batch_are_independent(sample: Sample) -> None:
    layer, xs = sample.build(), inputs(sample, 3)
    whole = run(layer, xs)
    for row in range(3):
        torch.testing.assert_close(run(layer, [x[row : row + 1] for x in xs])[0], whole[row], rtol=1e-5, atol=1e-6)


@each_sample
def test_it_depends_on_its_input_and_does_not_change_it(sample: Sample) -> None:
    layer, xs = sample.build(), inputs(sample)
    before = [x.clone() for x in xs]
    y = run(layer, xs)
    assert y.isfinite().all()
    assert all(torch.equal(x, kept) for x, kept in zip(xs, before, strict=True))
    if sample.name not in FREE_OF_INPUT:
        for index in range(len(xs)):
            others = [-x if i == index else x for i, x in enumerate(xs)]
            assert not torch.equal(run(layer, others), y)


@each_sample
def test_stored_yields_every_tensor_once(sample: Sample) -> None:
    layer = sample.build()
    owned = {name: tensor.data_ptr() for name, tensor in layer.state_dict().items()}
    for transposed in (False, True):
        arrays = list(layer.stored(transposed))
        names = [name for name, _ in arrays]
        assert len(set(names)) == len(names)
        assert sorted(tensor.data_ptr() for _, tensor in arrays) == sorted(owned.values())
        assert sum(tensor.numel() for _, tensor in arrays) == sum(t.numel() for t in layer.state_dict().values())
        assert {name.rpartition(".")[2] for name in names} == {name.rpartition(".")[2] for name in owned}


@each_sample
def test_stored_tensors_are_live(sample: Sample) -> None:
    layer, xs = sample.build(), inputs(sample)
    y = run_twice(layer, xs)
    for name, tensor in layer.stored():
        kept = tensor.detach().clone()
        with torch.no_grad():
            tensor.mul_(2.5).add_(0.3)
        assert not torch.equal(run_twice(layer, xs), y), name
        with torch.no_grad():
            tensor.copy_(kept)
    assert torch.equal(run_twice(layer, xs), y)


@each_sample
def test_copies_are_equal_and_separate(sample: Sample) -> None:
    layer, xs = sample.build(), inputs(sample)
    y = run(layer, xs)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(run(other, xs), y)
        assert (other.options, other.shape) == (layer.options, layer.shape)
        with torch.no_grad():
            for _, tensor in other.stored():
                tensor.zero_()
        assert torch.equal(run(layer, xs), y)


@each_sample
def test_a_state_dict_restores_the_outputs(sample: Sample) -> None:
    layer, xs = sample.build(), inputs(sample)
    other = random_networks.randomise(sample.build(), seed=1)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(run(other, xs), run(layer, xs))


@each_sample
def test_initialise_sets_finite_distinct_weights(sample: Sample) -> None:
    layer = sample.build()
    for _, tensor in layer.stored():
        tensor.data.fill_(math.nan)
    torch.manual_seed(0)
    layer.initialise()
    for name, tensor in layer.stored():
        assert tensor.isfinite().all(), name
        if name.endswith("weights") and tensor.dim() > 1 and sample.name != "shortcut":
            assert tensor.unique().numel() == tensor.numel(), name


@each_sample
def test_it_follows_dtype_and_device(sample: Sample) -> None:
    layer = sample.build()
    expected = run(layer, inputs(sample))
    y = run(layer.double(), inputs(sample, dtype=torch.float64))
    assert y.dtype == torch.float64
    torch.testing.assert_close(y.float(), expected, rtol=1e-4, atol=1e-5)
    on_meta = layer.float().to("meta")  # available everywhere; a tensor left on the CPU raises an error
    assert run(on_meta, [x.to("meta") for x in inputs(sample)]).device.type == "meta"


@each_sample
def test_gradients_reach_its_parameters(sample: Sample) -> None:
    layer = sample.build().train()
    xs = [x.requires_grad_() for x in inputs(sample, 4)]
    y = layer(*xs)
    if y.requires_grad:
        (y * random_networks.random(*y.shape, seed=3)).sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    if sample.name not in FREE_OF_INPUT:
        reached = xs[:1] if sample.name in DETACHING else xs
        assert all(x.grad is not None and x.grad.isfinite().all() for x in reached)


@each_sample
def test_descriptions_are_one_line_and_operations_are_finite(sample: Sample) -> None:
    layer = sample.build()
    assert "\n" not in layer.describe()
    assert layer.describe() in repr(layer)
    assert math.isfinite(layer.flops)
    assert layer.flops >= 0
    sources = layer.options.sources(9)
    assert len(sources) == len(sample.inputs)
    assert all(0 <= source < 9 for source in sources)
