"""Every option that concerns inference has an effect: for each there is a sample whose result depends on it.

``ELSEWHERE`` lists the options with an effect outside a layer's result, and where it is tested.
"""

from __future__ import annotations

import ast
import enum
import functools
import pathlib
import types
import typing
import warnings
from collections.abc import Iterator
from dataclasses import MISSING

import pytest
import torch
from torch import Tensor

import darknet_py
from darknet_py.cfg import schema
from darknet_py.cfg.net_section import Net
from darknet_py.errors import DarknetError
from darknet_py.layers import LAYERS, DecodeOptions, Head, Layer, Shape
from darknet_py.layers.recurrent._recurrent import Recurrent
from tests.helpers import random_networks
from tests.helpers.layer_samples import MAP, SAMPLES, TREE, TREE_CLASSES, TREE_HEAD, Sample

KINDS = sorted(set(LAYERS.values()), key=lambda kind: kind.names)
ELSEWHERE = {
    "dontload": "weights.stored; weights/test_darknet_file.py",
    "dontloadscales": "weights.stored; weights/test_darknet_file.py",
    "dontsave": "weights.stored; weights/test_darknet_file.py",
    "numload": "weights.stored; weights/test_darknet_file.py",
    "share_index": "Convolutional.connect; test_network.py",
}
# They must fit the previous layer, or the state, so that any other value is an error.
BOUND = {"classes", "num", "coords", "side", "ids", "scale_wh"}
BOUND_IN = {("se", "filters"), ("depthwise", "filters")}
BOUND_BY_STATE = {"stride", "pad", "padding"}
# Samples of keys that exclude keys of ``SAMPLES``.
MORE = (
    Sample("region", f"{TREE_HEAD} map={MAP}", next(s.inputs for s in SAMPLES if s.keys == TREE_HEAD)),
    Sample("region", f"classes={TREE_CLASSES} num=1", (Shape(TREE_CLASSES + 5, 3, 4),)),
    Sample("softmax", "", (Shape(TREE_CLASSES, 1, 1),)),
    Sample("reorg3d", "stride=2", (Shape(16, 4, 4),)),
    Sample("conv_lstm", "output=3 size=1 lstm_activation=leaky state_constrain=0", (Shape(4, 6, 6),)),
    Sample("region", "classes=3 num=2 classfix=-1", next(s.inputs for s in SAMPLES if "num=2 anchors" in s.keys)),
)


def inference_keys() -> Iterator[tuple[type[Layer], str]]:
    for kind in KINDS:
        for key, known in schema.keys(kind.Options).items():
            if not known.metadata["train"] and known.metadata["effect"] == "normal" and key not in ELSEWHERE:
                yield kind, key


def alternatives(kind: type[Layer], key: str, now: str | None) -> Iterator[str]:
    """Yield other values of a key, as text."""
    known = schema.keys(kind.Options)[key]
    hint = schema.type_hints(kind.Options)[known.name]
    if isinstance(hint, types.UnionType):
        hint = typing.get_args(hint)[0]
    default = "" if known.default in (MISSING, None, ()) else str(known.default)
    value = now if now is not None else default
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        yield from (str(member.value) for member in hint if str(member.value) != value)
    elif hint is pathlib.Path:
        yield from (TREE, MAP)
    elif hint is bool:
        yield "0" if value in ("1", "True") else "1"
    elif typing.get_origin(hint) is tuple:
        yield ",".join(reversed(value.split(",")))
        yield from ("1,0", "-3", "-3,-4", "2,3,4,5,6,7,1,1")
    else:
        number = float(value or 0)
        yield from (str(int(number) + step) for step in (1, -1, 2, 3))
        yield str(number + 0.37)


@functools.cache
def effect(sample: Sample) -> str | None:
    """Return everything that a layer does at inference as text; None if its options are refused."""
    try:
        layer = sample.build()
    except (DarknetError, ValueError):
        return None
    xs = [random_networks.random(2, *shape, seed=7 + i, low=-2, high=2) for i, shape in enumerate(sample.inputs)]
    with torch.no_grad():
        layer(*xs)
        y = layer(*xs)
    seen: list[object] = [layer.shape, layer.options.sources(9), to_text(y)]
    seen += [(name, tuple(tensor.shape), tensor.stride()) for name, tensor in layer.stored()]
    if isinstance(layer, Head):
        seen.append((layer.nms_options, layer.nms_options.overlap(*torch.tensor([[0.5, 0.5, 1, 1], [0.7, 0.5, 1, 1]]))))
        for decode_options in (DecodeOptions(0.1), DecodeOptions(0.1, class_map=True)):
            seen += [tuple(map(to_text, image)) for image in layer.decode(y, (32, 24), decode_options)]
    return to_text(seen)


def to_text(value: object) -> str:
    return repr(value.tolist()) if isinstance(value, Tensor) else repr(value)


@pytest.mark.parametrize(("kind", "key"), list(inference_keys()), ids=lambda part: getattr(part, "names", (part,))[0])
def test_every_option_has_an_effect(kind: type[Layer], key: str) -> None:
    tried = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a changed option may leave others unused
        for sample in (*MORE, *SAMPLES):
            if sample.kind is not kind:
                continue
            pairs = sample.pairs()
            for value in alternatives(kind, key, pairs.get(key)):
                tried += 1
                changed = " ".join(f"{k}={v}" for k, v in {**pairs, key: value}.items())
                other = effect(sample._replace(keys=changed))
                bound = (
                    key in BOUND
                    or (kind.names[0], key) in BOUND_IN
                    or (key in BOUND_BY_STATE and isinstance(sample.build(), Recurrent))
                )
                if other != effect(sample) and (other is not None or bound):
                    return
    assert tried, "no sample and no other value"
    raise AssertionError(f"[{kind.names[0]}] {key}= changes nothing in {tried} trials")


def test_the_exceptions_are_options() -> None:
    known = {key for kind in KINDS for key in schema.keys(kind.Options)}
    assert set(ELSEWHERE) <= known


PACKAGE = pathlib.Path(darknet_py.__file__).parent


@functools.cache
def names_in_package() -> frozenset[str]:
    """Return every attribute that the package reads, and every string, as it may name an attribute."""
    result: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                result.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                result.add(node.value)
    return frozenset(result)


@pytest.mark.parametrize("key", [key for key, known in schema.keys(Net).items() if not known.metadata["train"]])
def test_every_key_of_the_network_is_used(key: str) -> None:
    assert schema.keys(Net)[key].name in names_in_package()
