"""What every section type is made of: ``Layer``, its ``Options`` and ``Shape``, and the registry.

A section type is one class in one file of this folder. It says five things and nobody else says any of
them: the section's names (``@section``); its keys with Darknet's defaults and, from them, which layers
it reads (``Options``, ``Options.sources``); the shape of what it returns (``shape``); its arithmetic
(``forward``); and what it keeps in a .weights file (``stored``). See CONTRIBUTING.md, "Add a layer".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from ..cfg import schema
from ..cfg.schema import option
from ..errors import did_you_mean
from ._context import Gradients, StepContext
from ._loss import Loss
from ._param_group import ParamGroup


class Shape(NamedTuple):
    """What one image's output of a layer looks like; a flat vector is ``Shape(n, 1, 1)``."""

    channels: int
    height: int
    width: int

    @property
    def floats(self) -> int:
        """How many numbers that is."""
        return self.channels * self.height * self.width


class Layer(nn.Module):
    """One section of a cfg as a module: tensors [batch, channels, height, width] in, one tensor out."""

    @dataclass(frozen=True, kw_only=True)
    class Options(schema.Options):
        """Keys that every layer section may carry."""

        dontload: bool = option(False, "do not read this layer: the file holds no weights of it")
        dontloadscales: bool = option(False, "the file holds no scales, rolling_mean and rolling_variance")
        dontsave: bool = option(False, "do not write this layer (pjreddie)")
        numload: int = option(0, "read only this many filters, the file holds no others; 0: all (pjreddie)")
        learning_rate: float = option(1.0, "factor on the learning rate", train=True)
        stopbackward: int = option(0, "stop the gradient at this layer; above 1: for this many iterations", train=True)
        dont_update: int = option(0, "do not update this layer in the first N iterations", train=True)
        onlyforward: bool = option(False, "pass no gradient through this layer", train=True)
        burnin_update: int = option(0, "do not update this layer before iteration N * burn_in", train=True)
        train_only_bn: bool = option(
            False, "in this layer and those before it, update the statistics of batch norm only", train=True
        )
        clip: float = option(0.0, "clamp weights to -clip..clip; 0: no limit", train=True)
        truth: bool = option(
            False, "the output is the target of the next layer (pjreddie)", train=True, effect="unsupported"
        )
        smooth: float = option(0.0, "label smoothing epsilon (pjreddie)", train=True, effect="unsupported")

        def sources(self, index: int) -> tuple[int, ...]:
            """Layers that layer ``index`` reads, by number; -1 is the network's input."""
            return (index - 1,)

    names: ClassVar[tuple[str, ...]]
    joined = False  # whether a Join reads the output
    scales_may_lack = False  # whether dontloadscales means this layer
    has_loss: ClassVar[bool] = False
    replaces_gradient: ClassVar[bool] = False  # of its input, in C's CPU build (see Gradients)
    uses_context: ClassVar[bool] = False  # whether ``forward`` takes ``context=``, see ``Network.forward``
    options: Options
    shape: Shape

    def __init__(self, options: Options, *inputs: Shape) -> None:
        """``inputs``: the shapes of the sources. Raises ValueError where they do not fit."""
        super().__init__()
        self.options = options
        self.shape = inputs[0]

    def connect(self, index: int, earlier: Sequence[Layer]) -> None:
        """Meet the layers before this one, number ``index``: for what layers share."""

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, live tensor) in the order of a .weights file.

        ``transposed``: the file is of the kind that holds the matrices of connected layers as
        [inputs, outputs]. Another layout than the tensor's own is yielded as a view.
        """
        return iter(())

    def initialise(self) -> None:
        """Give the parameters Darknet's starting values, by torch's global random generator."""
        for child in self.children():
            if isinstance(child, Layer):
                child.initialise()

    @property
    def flops(self) -> float:
        """Operations for one image as Darknet counts them: its BFLOPS column is this / 1e9."""
        return 0.0

    def describe(self) -> str:
        """What the layer table shows of the options: filters, window and the like."""
        return ""

    def extra_repr(self) -> str:
        """Say the options in a few words."""
        return self.describe()

    def reset(self) -> None:
        """Forget what was kept from earlier calls (recurrent layers)."""

    def darknet_gradients(self, context: StepContext | None) -> bool:
        """Whether this forward pass needs C's gradients where they differ from the derivative."""
        return self.training and context is not None and context.darknet_gradients

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """What training makes of the layer's input and output, where ``has_loss``.

        ``targets``: [batch, most, 6] (x y w h class identity, padded with zeros) or [batch, classes].
        """
        raise NotImplementedError

    def param_groups(self, gradients: Gradients = Gradients.DARKNET) -> list[ParamGroup]:
        """The layer's parameters, grouped by how the optimizer updates them.

        Args:
            gradients: Whose update rules hold: C's CPU build ignores some options.

        Returns:
            The weights, which are subject to decay and ``clip=``, and the other parameters, which are not.
        """
        weights: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, p in self.named_parameters():
            (weights if name.rpartition(".")[2] == "weights" else others).append(p)
        rest = ParamGroup(
            params=tuple(others),
            lr_factor=self.options.learning_rate,
            dont_update=self.options.dont_update,
            burnin_update=self.options.burnin_update,
        )
        return [replace(rest, params=tuple(weights), weight_decay=True, clip=self.options.clip), rest]


class Join(Layer):
    """A layer that reads others by number; what it reads must be whole floats (see ``bin_output``)."""

    def connect(self, index: int, earlier: Sequence[Layer]) -> None:
        """Mark the sources."""
        for source in self.options.sources(index):
            if source >= 0:
                earlier[source].joined = True


LAYERS: dict[str, type[Layer]] = {}
L = TypeVar("L", bound=type[Layer])


def section(*names: str) -> Callable[[L], L]:
    """Register a Layer class for sections of these names; a name that is taken raises ValueError."""

    def register(layer: L) -> L:
        for name in names:
            if name in LAYERS:
                raise ValueError(f"[{name}] is registered already, by {LAYERS[name].__qualname__}")
            LAYERS[name] = layer
        layer.names = names
        return layer

    return register


def find(name: str) -> type[Layer]:
    """The Layer class of a section. Raises ValueError that names the nearest section there is."""
    try:
        return LAYERS[name]
    except KeyError:
        raise ValueError(f"unknown section{did_you_mean(name, LAYERS)}") from None


def absolute(numbers: Sequence[int], index: int) -> tuple[int, ...]:
    """Layer numbers as cfg files give them (negative: counted back from ``index``) to plain ones."""
    return tuple(n + index if n < 0 else n for n in numbers)


def parameter(*size: int) -> nn.Parameter:
    """A parameter that nothing has been written to yet."""
    return nn.Parameter(torch.empty(size))
