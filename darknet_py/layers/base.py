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

from ..boxes import NMSOptions, RawDetections
from ..cfg import schema
from ..cfg.schema import option
from ..errors import did_you_mean
from ._context import Gradients, StepContext
from ._loss import Loss
from ._param_group import ParamGroup
from ._tree import Tree


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

        dontload: bool = option(False, "keep this layer out of reading: the file holds nothing for it")
        dontloadscales: bool = option(False, "the file holds no scales, rolling_mean and rolling_variance")
        dontsave: bool = option(False, "keep this layer out of writing (pjreddie)")
        numload: int = option(0, "the file holds that many filters alone; 0: all (pjreddie)")
        learning_rate: float = option(1.0, "factor on the network's rate", train=True)
        stopbackward: int = option(0, "no gradient below this layer (that many iterations)", train=True)
        dont_update: int = option(0, "no update of this layer in the first so many iterations", train=True)
        onlyforward: bool = option(False, "no gradient through this layer", train=True)
        burnin_update: int = option(0, "no update before that many times burn_in", train=True)
        train_only_bn: bool = option(False, "no update here and before but of batch norm's statistics", train=True)
        clip: float = option(0.0, "limit of a weight's absolute value; 0: none", train=True)
        truth: bool = option(
            False, "the layer's output is the target of the next (pjreddie)", train=True, effect="unsupported"
        )
        smooth: float = option(0.0, "label smoothing (pjreddie)", train=True, effect="unsupported")

        def sources(self, index: int) -> tuple[int, ...]:
            """Layers that layer ``index`` reads, by number; -1 is the network's input."""
            return (index - 1,)

    names: ClassVar[tuple[str, ...]]
    joined = False  # whether a Join reads the output
    scales_may_lack = False  # whether dontloadscales means this layer
    has_loss: ClassVar[bool] = False
    replaces_gradient: ClassVar[bool] = False  # of its input, in C's CPU build (see Gradients)
    steps = 1  # frames in a batch, one after another: recurrent layers unroll them
    context: StepContext | None = None  # set by a Trainer for the time of a mini-batch
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

    @property
    def darknet_gradients(self) -> bool:
        """Whether gradients shall be C's where they are not the derivative."""
        return self.training and self.context is not None and self.context.darknet_gradients

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


@dataclass(frozen=True)
class DecodeOptions:
    """Which boxes ``Head.decode`` returns, and with which classes.

    Attributes:
        threshold: score threshold: class probabilities that are not above it are set to 0.
        hierarchy: with a class tree, the probability above which a class is descended into (Darknet's ``-hier``).
        class_map: with a class tree, the classes to report instead of the tree's own: those of the head's ``map=``
            file if True, or those of an int64 tensor [n] of class numbers.
    """

    threshold: float
    hierarchy: float = 0.5
    class_map: bool | Tensor = False

    def reported_classes(self, head_map: Tensor | None) -> Tensor | None:
        """Return the numbers of the classes to report, None for all; ``head_map`` is that of the head's ``map=``."""
        return self.class_map if isinstance(self.class_map, Tensor) else head_map if self.class_map else None


class Head(Layer):
    """A detection head: the end of a branch, whose output is decoded to boxes.

    Attributes:
        anchors: (width, height) of the anchors that this head predicts with; empty for a head without anchors.
        listed_anchors: (width, height) of all anchors of the ``anchors=`` key, which several heads may share.
        mask: indices of ``anchors`` among the listed ones; empty where the section has no ``mask=`` and uses all.
        anchors_in_cells: whether anchors are in cells of the map (YOLOv2) instead of pixels of the input.
        tree: hierarchy of the classes, or None.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Layer.Options):
        """Keys that every head has."""

        max: int = option(200, "maximum number of targets per image", train=True)
        jitter: float = option(0.2, "range of random translation and aspect ratio in augmentation", train=True)
        resize: float = option(1.0, "range of random scaling in augmentation", train=True)

    options: Options
    anchors: tuple[tuple[float, float], ...] = ()
    listed_anchors: tuple[tuple[float, float], ...] = ()
    mask: tuple[int, ...] = ()
    anchors_in_cells: ClassVar[bool] = False
    tree: Tree | None

    def __init__(self, options: Options, x: Shape) -> None:
        super().__init__(options, x)
        self.tree = None

    def decode(self, output: Tensor, size: tuple[int, int], options: DecodeOptions) -> list[RawDetections]:
        """Decode the boxes of every image of a batch.

        Args:
            output: what ``forward`` returned, float [batch, channels, height, width].
            size: width and height of the network's input in pixels.
            options: which boxes to return.

        Returns:
            For each image its boxes before NMS, (cx, cy, w, h) relative to the network's input.
        """
        raise NotImplementedError

    def decode_all(
        self, output: Tensor, size: tuple[int, int], threshold: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode every box of the map, as a static graph for export: ``decode`` without a score threshold.

        Args:
            output: what ``forward`` returned, float [batch, channels, height, width].
            size: width and height of the network's input in pixels.
            threshold: score threshold for heads whose probabilities depend on it (a class tree).

        Returns:
            Boxes, float [batch, n, 4] in Darknet's order, (cx, cy, w, h) relative to the network's input; and
            probabilities, float [batch, n, classes].

        Raises:
            ValueError: if the probabilities depend on a threshold and none is given.
        """
        raise NotImplementedError

    @property
    def classes(self) -> int:
        """Number of classes."""
        raise NotImplementedError

    @property
    def multi_scale(self) -> float:
        """Range of the input's size in multi-scale training (``random=``); 0: the size is fixed."""
        return 0.0

    def inputs_for(self, classes: int) -> int:
        """Return the number of channels that the layer before must have for so many classes."""
        raise NotImplementedError

    @property
    def nms_options(self) -> NMSOptions:
        """How NMS compares boxes of this head."""
        return NMSOptions()


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
