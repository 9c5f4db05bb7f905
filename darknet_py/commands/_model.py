"""The arguments by which verbs name a network."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..cfg import Dialect
from ..errors import WeightsError
from ..hub.model_files import Model, find

if TYPE_CHECKING:
    from ..network import Network


def add(parser: argparse.ArgumentParser, *, weights: str = "?") -> None:
    """Add MODEL, WEIGHTS and what decides how they are read. ``weights``: argparse's ``nargs``."""
    parser.add_argument("model", metavar="MODEL", help="a cfg, a .pt or .safetensors, or a name of the catalogue")
    parser.add_argument(
        "weights", metavar="WEIGHTS", nargs=weights, help="its weights; a catalogue name brings its own"
    )
    options(parser)


def options(parser: argparse.ArgumentParser) -> None:
    """Add what decides how a network is read and where it runs."""
    group = parser.add_argument_group("network")
    group.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help="input instead of the cfg's")
    group.add_argument("--dialect", choices=[d.value for d in Dialect], default="alexeyab", help="whose rules hold")
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps, ...; auto: the fastest there is")
    group.add_argument("--strict", action="store_true", help="text of the cfg without effect is an error")
    group.add_argument("--fetch", action="store_true", help="get the catalogue's weights for a cfg without any")


def found(args: argparse.Namespace) -> Model:
    """The files that the arguments name."""
    return find(args.model, args.weights, fetch=args.fetch)


def load(args: argparse.Namespace, model: Model) -> Network:
    """The network that the arguments name, filled and on its device."""
    from .. import loading
    from ..weights.containers import is_container

    alone = is_container(model.cfg)  # it brings weights and dialect with it
    if model.weights is None and not alone:
        raise WeightsError(f"{args.model}: no weights: give the file, or --fetch to get the catalogue's")
    size = tuple(args.size) if args.size else None
    dialect = None if alone else args.dialect
    return loading.load(
        model.cfg, model.weights, size=size, dialect=dialect, device=device(args.device), strict=args.strict
    )


def device(name: str) -> str:
    """A torch device by name, ``auto`` being the fastest there is."""
    import torch

    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def add_engine(group: argparse._ActionsContainer) -> None:
    """Add --engine and --dtype: what computes the network, and with which numbers."""
    engines = "torch, plain, graph, openvino, onnxruntime or auto: the fastest there is (torch)"
    group.add_argument("--engine", default="torch", metavar="NAME", help=engines)
    dtypes = ("fp32", "bf16", "fp16")
    group.add_argument("--dtype", choices=dtypes, default="fp32", help="numbers to compute with (fp32)")
