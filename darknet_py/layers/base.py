"""``Layer``, the base of every section type, with its ``Options``, and the registry.

A section type is one class in one module of this package. It states five facts that are stated nowhere else: the
section's names (``@section``); its keys with Darknet's defaults and the layers it reads (``Options``,
``Options.sources``); the shape of its output (``shape``); its computation (``forward``); and its arrays in a
.weights file (``stored``). Everything else has a default. See CONTRIBUTING.md, "Add a layer".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from ..activations import Activation
from ..cfg import schema
from ..cfg.schema import option
from ._channel_groups import ChannelGroups, Channels
from ._context import Gradients, StepContext
from ._fusion import ConvolutionSpec
from ._loss import Loss
from ._param_group import ParamGroup
from ._shape import Flattened as Flattened
from ._shape import Shape as Shape
from ._window import Window


class Layer(nn.Module):
    """One section of a cfg as a module: tensors [batch, channels, height, width] in, one tensor out.

    Attributes:
        names: names of the section, see ``section``.
        has_loss: whether ``loss`` is defined.
        stateful: whether ``state`` is kept from call to call.
        reads_vectors: whether the layer accepts a ``Flattened`` input; C's others "must output image" before them.
        is_darknets: whether C Darknet has the section.
        uses_context: whether ``forward`` takes ``context=``, see ``Network.forward``.
        options: the section's keys.
        shape: shape of the output for one image.
        state: state after the last call, each tensor [batch, ...]; None: no call yet.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(schema.Options):
        """Keys that every layer section may carry."""

        dontload: bool = option(False, "do not load weights for this layer: the file contains none")
        dontloadscales: bool = option(
            False, "do not load scales, rolling_mean and rolling_variance: the file contains none"
        )
        dontsave: bool = option(False, "do not save the weights of this layer (pjreddie)")
        numload: int = option(0, "load only this many filters: the file contains no more; 0: all (pjreddie)", min=0)
        learning_rate: float = option(1.0, "factor on the learning rate", train=True, min=-1e6, max=1e6)
        stopbackward: int = option(
            0, "stop the gradient at this layer; above 1: for this many iterations", train=True, min=0
        )
        dont_update: int = option(0, "do not update this layer in the first N iterations", train=True, min=0)
        onlyforward: bool = option(False, "pass no gradient through this layer", train=True)
        burnin_update: int = option(0, "do not update this layer before iteration N * burn_in", train=True, min=0)
        train_only_bn: bool = option(
            False, "in this layer and those before it, update the statistics of batch norm only", train=True
        )
        clip: float = option(0.0, "clamp weights to -clip..clip; 0: no limit", train=True, min=0)
        truth: bool = option(
            False, "the output is the target of the next layer (pjreddie)", train=True, effect="unsupported"
        )
        smooth: float = option(
            0.0, "label smoothing epsilon (pjreddie)", train=True, effect="unsupported", min=0, max=1
        )

        def sources(self, index: int) -> tuple[int, ...]:
            """Layers that layer ``index`` reads, by number; -1 is the network's input."""
            return (index - 1,)

    names: ClassVar[tuple[str, ...]]
    is_darknets: ClassVar[bool] = True
    has_loss: ClassVar[bool] = False
    stateful: ClassVar[bool] = False
    reads_vectors: ClassVar[bool] = False
    uses_context: ClassVar[bool] = False
    options: Options
    shape: Shape
    state: tuple[Tensor, ...] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Reset the attributes that describe ``forward`` to their defaults in a subclass that overrides it."""
        super().__init_subclass__(**kwargs)
        if "forward" in vars(cls):
            for name in _DESCRIBE_FORWARD:
                if name not in vars(cls):
                    setattr(cls, name, vars(Layer)[name])

    def __init__(self, options: Options, *inputs: Shape) -> None:
        """Create the layer with uninitialised parameters.

        Args:
            options: the section's keys.
            inputs: shapes of the layers that it reads, in the order of ``Options.sources``.

        Raises:
            ValueError: the options or shapes do not fit. The network adds file, line and layer.
        """
        super().__init__()
        self.options = options
        self.shape = inputs[0]

    def connect(self, index: int, earlier: Sequence[Layer]) -> None:
        """Link the layer, number ``index``, to ``earlier`` ones whose parameters or targets it uses."""

    def stored(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, live tensor) in the order of a .weights file; a tensor stored in another layout as a view.

        Args:
            transposed: the file holds the matrices of fully connected layers as [inputs, outputs].
        """
        return iter(())

    def loaded(self, transposed: bool = False) -> Iterator[tuple[str, Tensor]]:
        """Yield what reading a file fills: ``stored`` without what ``dontload`` and ``numload`` exclude."""
        if not self.options.dontload:
            count = self.options.numload
            for name, tensor in self.stored(transposed):
                yield name, tensor[:count] if count else tensor

    def initialise(self) -> None:
        """Set the parameters to Darknet's initial values, drawn from torch's global generator."""
        for child in self.children():
            if isinstance(child, Layer):
                child.initialise()

    @property
    def flops(self) -> float:
        """Floating-point operations for one image as Darknet counts them (its column BFLOPS times 1e9)."""
        return 0.0

    @property
    def workspace(self) -> int:
        """Number of values that ``forward`` computes for one image beside its output, if they are many."""
        return 0

    @property
    def window(self) -> Window:
        """The cells of each input that a cell of the output depends on."""
        return Window()

    def describe(self) -> str:
        """Summarise the options for the layer table: filters, kernel, stride and the like."""
        return ""

    def extra_repr(self) -> str:
        """Return ``describe()`` for ``repr``."""
        return self.describe()

    def reset(self) -> None:
        """Clear the state."""
        if self.stateful:
            self.state = None

    def darknet_gradients(self, context: StepContext | None) -> bool:
        """Whether this forward pass must record C's gradients where they differ from the derivative."""
        return self.training and context is not None and context.darknet_gradients

    def loss(self, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
        """Compute the layer's loss, where ``has_loss``.

        Args:
            x: the layer's first input, float [batch, channels, height, width].
            output: the layer's output, float [batch, *shape].
            targets: float [batch, n, 6] (x y w h class track, padded with zeros), or [batch, classes].
            context: state of training.
        """
        raise NotImplementedError

    def param_groups(self, gradients: Gradients = Gradients.DARKNET) -> list[ParamGroup]:
        """Return the layer's parameters, grouped by how the optimizer updates them.

        Args:
            gradients: the Darknet build whose update rules apply; its CPU build ignores some options.

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

    def channel_groups(self, groups: ChannelGroups, *inputs: Channels) -> Channels:
        """Declare which channels go together where channels are removed. By default none of its inputs and outputs may.

        Args:
            groups: where to declare it.
            inputs: the channels of each input.

        Returns:
            The channels of the output.
        """
        for x in inputs:
            groups.keep(x)
        return groups.add_kept(self.shape.channels)

    def absorb(self, x: Tensor) -> None:
        """Add what ``x`` contributes to the output before batch norm and activation to the parameters.

        The mean of batch norm changes, or without it the biases. A contribution that differs between positions, as
        with zero padding, is replaced by one value for all. Layers whose inputs all stay need not do anything.

        Args:
            x: the channels that are removed, float [1, channels, height, width]; zero in the others.
        """

    # The rest describes ``forward`` in eval mode to ``inference.fused_network``. By default the layer runs unchanged,
    # in float32.

    @property
    def dtype_agnostic(self) -> bool:
        """Whether the layer is safe in half precision: it only moves, compares, adds or multiplies values."""
        return False

    @property
    def is_binary(self) -> bool:
        """Whether the layer reduces its input to signs, which rounding may flip."""
        return False

    def is_identity(self, *inputs: Shape) -> bool:
        """Whether the layer returns its only input, given the inputs' shapes."""
        return False

    def as_convolution(self) -> ConvolutionSpec | None:
        """Return the layer as a convolution with batch norm and activation, or None if it is not one."""
        return None

    def as_sum(self, *inputs: Shape) -> Activation | None:
        """Return the activation f if the layer computes f(a + b) of two maps, given the inputs' shapes, or None."""
        return None

    def fused(self) -> nn.Module | None:
        """Return a faster module with the same output up to rounding, for inputs of any floating dtype, or None."""
        return None


_DESCRIBE_FORWARD = (
    "channel_groups",
    "uses_context",
    "dtype_agnostic",
    "is_binary",
    "is_identity",
    "as_convolution",
    "as_sum",
    "fused",
)


LAYERS: dict[str, type[Layer]] = {}

L = TypeVar("L", bound=type[Layer])


def section(*names: str) -> Callable[[L], L]:
    """Register a Layer class for sections of these names. Raises ValueError if a name is taken."""

    def register(layer: L) -> L:
        for name in names:
            if name in LAYERS:
                other = LAYERS[name]
                raise ValueError(f"[{name}] is registered already, by {other.__qualname__} of {other.__module__}")
            LAYERS[name] = layer
        layer.names = names
        if layer.__module__.partition(".")[0] != __name__.partition(".")[0]:
            layer.is_darknets = False
        return layer

    return register


def resolve_indices(numbers: Sequence[int], index: int) -> tuple[int, ...]:
    """Convert layer numbers of a cfg, where -1 is the layer before ``index``, to absolute ones."""
    return tuple(n + index if n < 0 else n for n in numbers)
