"""``Network``: a cfg as a ``torch.nn.Module``, and the table that describes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, overload

import torch
from torch import Tensor, nn

from . import initial_values
from ._building import INPUT as INPUT
from ._building import build_layers, input_shape, locate_errors, plan_layers, read_specs, recreation
from ._layer_table import layer_table
from ._liveness import dead_after
from ._memory_plan import check_memory
from ._receptive_field import receptive_fields
from .cfg import Config, Dialect, schema
from .cfg.net_section import NAMES, Net
from .errors import ConfigError, DarknetError
from .layers import ClassifierHead, Head, Layer, StepContext, Tree
from .modes import eval_mode, standard_defaults

_MAX_WRAPPERS = 8  # around a network


class Network(nn.Module):
    """The layers of a cfg in its order: ``layers[i]`` is section i after ``[net]``.

    ``net(x)`` accepts every width and height that the strides allow, not only that of ``shape``. Parameters are float32
    whatever torch's default dtype, and uninitialised until ``initialise`` or ``weights.load`` fills them.

    Args:
        config: the parsed cfg.
        size: width and height of the input in pixels instead of the cfg's.
        dialect: ``alexeyab`` or ``pjreddie``: the fork whose behaviour applies where they differ.
        strict: raise an error for unknown keys and other text without effect.
        max_bytes: memory that parameters, the outputs of one image and the image may need; None: the machine's.

    Attributes:
        options: keys of ``[net]``.
        shape: shape of the input for one image.
        sources: for each layer, the numbers of the layers that it reads; -1 is the network's input.
        version: (major, minor, revision) in the header of a .weights file.
        seen: images trained on, also in that header.
        names: class names from a checkpoint; empty if unknown.
        shapes: shape of each entry of ``state_dict()`` as the cfg says.
        initial_values: samples of the random values that ``initialise`` has set, see ``random_layers``.

    Raises:
        ConfigError: the cfg is wrong or needs too much memory, with file, line and layer.
    """

    def __init__(
        self,
        config: Config,
        *,
        size: tuple[int, int] | None = None,
        dialect: Dialect | str = Dialect.ALEXEYAB,
        strict: bool = False,
        max_bytes: int | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.dialect = Dialect(dialect)
        first, *others = config.sections
        if first.name not in NAMES:
            raise ConfigError(f"{config.path}:{first.line}: expected [net] as the first section, got [{first.name}]")
        if not others:
            raise ConfigError(f"{config.path}: expected layers after [{first.name}], found none")
        self.options = schema.read(Net, first, config, dialect=self.dialect, strict=strict)
        with locate_errors(config, first):
            self.shape = input_shape(self.options, size)
        self._specs = read_specs(config, self.dialect, strict=strict)
        self.sources = [spec.sources for spec in self._specs]
        planned = plan_layers(config, self._specs, self.shape)
        check_memory(config, self._specs, planned, self.shape, max_bytes)
        with standard_defaults(device=False):  # parameters are created where torch's default device says
            self.layers = nn.ModuleList(build_layers(config, self._specs, self.shape))
        self._sizes = {self.shape[1:]}  # heights and widths of the input that the layers accept
        self._dead = dead_after(enumerate(self.sources), self.outputs)
        self.version = (0, 2, 5)
        self.seen = 0
        self.names: tuple[str, ...] = ()
        self.initial_values: dict[str, Tensor] = {}
        self.shapes = {name: tensor.shape for name, tensor in self.state_dict().items()}
        self.eval()
        for option in self.ineffective_options() if strict else ():
            raise ConfigError(str(option))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the paths of plug-ins, which other processes load first."""
        return *recreation(type(self), self._specs), self.__dict__

    def __iter__(self) -> Iterator[Layer]:
        """The layers. Raises DarknetError if one was replaced by another module."""
        count = len(self.config.sections) - 1
        if len(self.layers) != count:
            raise DarknetError(f"{self.config.path}: expected {count} layers as in the cfg, found {len(self.layers)}")
        for index, layer in enumerate(self.layers):
            yield layer if isinstance(layer, Layer) else self[index]

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> list[Layer]: ...
    def __getitem__(self, index: int | slice) -> Layer | list[Layer]:
        """Layer ``index``, or a list of layers. Raises DarknetError if one was replaced by another module."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self.layers)))]
        layer = self.layers[index]
        if not isinstance(layer, Layer):
            number = index % len(self.layers)
            section = self.config.sections[1 + number]
            raise DarknetError(
                f"{self.config.path}:{section.line}: layer {number} [{section.name}] was replaced by a "
                f"{type(layer).__name__}: expected a Layer. Change the cfg, or copy values into the layer's parameters"
            )
        return layer

    @property
    def heads(self) -> list[Head]:
        """The layers that predict boxes, in order."""
        return [layer for layer in self if isinstance(layer, Head)]

    @property
    def outputs(self) -> tuple[int, ...]:
        """Numbers of the layers whose outputs ``forward`` returns: the heads, or the last layer."""
        heads = tuple(index for index, layer in enumerate(self) if isinstance(layer, Head))
        return heads or (len(self.layers) - 1,)

    @property
    def stateful(self) -> bool:
        """Whether a layer keeps a state from call to call."""
        return any(layer.stateful for layer in self)

    @property
    def class_tree(self) -> Tree | None:
        """Class hierarchy of a classifier, that of its last softmax (``net.hierarchy`` in C); None: no hierarchy."""
        trees = [layer.tree for layer in self if isinstance(layer, ClassifierHead)]
        return trees[-1] if trees else None

    def forward(self, x: Tensor, context: StepContext | None = None) -> list[Tensor]:
        """Run the layers; an output is dropped after its last reader.

        Args:
            x: float [batch, channels, height, width] in 0..1, or [batch, inputs].
            context: passed to the layers that declare ``uses_context``; None outside of training.

        Returns:
            The outputs of the heads in their order, or of the last layer where there is no head.

        Raises:
            ValueError: ``x`` does not fit the network.
        """
        return list(self._run(x, self._dead, context).values())

    def features(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Run the layers up to the last of ``layers`` and return the outputs of these, in this order.

        ``x`` and the outputs are as in ``forward``. Negative numbers of layers count from the end. Raises IndexError
        if there is no such layer.
        """
        numbers = [range(len(self.layers))[number] for number in layers]
        sources = self.sources[: max(numbers) + 1]
        outputs = self._run(x, dead_after(enumerate(sources), numbers), None)
        return [outputs[number] for number in numbers]

    def _run(self, x: Tensor, dead: Sequence[Sequence[int]], context: StepContext | None) -> dict[int, Tensor]:
        """Run as many layers as ``dead`` has entries; after each, drop the outputs that its entry names."""
        outputs = {INPUT: self.to_batch(x)}
        for index, unread in enumerate(dead):
            layer = self.layers[index]
            inputs = [outputs[source] for source in self.sources[index]]
            try:
                uses_context = getattr(layer, "uses_context", False)  # not of a module that replaces a layer
                outputs[index] = layer(*inputs, context=context) if uses_context else layer(*inputs)
            except Exception as error:
                error.add_note(self.locate(index, inputs))
                raise
            for number in unread:
                del outputs[number]
        return outputs

    def predict(self, x: Tensor) -> list[Tensor]:
        """Run the layers in eval mode, without gradients, in the precision and on the device of the weights.

        Args:
            x: float [batch, channels, height, width] in 0..1, or [batch, inputs], of any precision and device.

        Returns:
            As ``forward``, float32.
        """
        with evaluating(self), torch.no_grad():
            return [y.float() for y in self(x.to(next(self.parameters(), x)))]

    def locate(self, index: int, inputs: Sequence[Tensor]) -> str:
        """Describe layer ``index`` and the shapes of its inputs, for errors."""
        section = self.config.sections[1 + index]
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        return f"in layer {index} [{section.name}] ({self.config.path}:{section.line}), input shapes {shapes}"

    def to_batch(self, x: Tensor) -> Tensor:
        """Return ``x`` as [batch, channels, height, width]. Raises ValueError if it does not fit the network."""
        if x.dim() == 2 and x.shape[1] == self.shape.floats:
            return x.reshape(-1, *self.shape)
        if x.dim() == 4 and x.shape[1] == self.shape.channels:
            if type(x.shape[2]) is int and not torch.compiler.is_compiling():  # a tracer has symbols for sizes
                self.check_size((x.shape[3], x.shape[2]))
            return x
        raise ValueError(f"expected a batch of {tuple(self.shape)} (channels, height, width), got {tuple(x.shape)}")

    def ineffective_options(self) -> list[schema.IneffectiveOption]:
        """Return the keys of the cfg that are set and do nothing, for this kind of network or at all."""
        options = (self.options, *(spec.options for spec in self._specs))
        return list(schema.ineffective_options(self.config, options, "detectors" if self.heads else "classifiers"))

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise ConfigError if the layers do not accept an input of ``size``, width and height in pixels."""
        width, height = size
        if (height, width) not in self._sizes:
            plan_layers(self.config, self._specs, self.shape._replace(height=height, width=width))
            self._sizes.add((height, width))

    def initialise(self) -> Network:
        """Set every parameter to Darknet's initial values, drawn from torch's global generator."""
        with torch.no_grad():
            for layer in self:
                layer.initialise()
        self.initial_values = initial_values.sample(self)
        return self

    def reset(self) -> None:
        """Clear the state of recurrent layers: the next input is the first of a sequence."""
        for layer in self:
            layer.reset()

    @property
    def flops(self) -> float:
        """Floating-point operations for one image as Darknet counts them (its "Total BFLOPS" times 1e9)."""
        return sum(layer.flops for layer in self)

    @property
    def receptive_fields(self) -> list[tuple[int, int]]:
        """Height and width of each layer's receptive field in pixels, see ``_receptive_field``."""
        return receptive_fields(self, self.sources, self.shape)

    def __str__(self) -> str:
        return self.table()

    def table(self, *, receptive_field: bool = False) -> str:
        """Return Darknet's table: number, section, options, shapes, BFLOPS, floats in a .weights file.

        Args:
            receptive_field: add a column with the width and height of the receptive field in pixels, as
                ``show_receptive_field=1`` in ``[net]`` does.
        """
        names = [section.name for section in self.config.sections[1:]]
        fields = self.receptive_fields if receptive_field or self.options.show_receptive_field else None
        return layer_table(list(self), names, self.sources, self.shape, fields)


@contextmanager
def fresh_state(network: Network) -> Iterator[None]:
    """Start recurrent layers from zeros inside the block, and restore their states afterwards.

    So an evaluation depends on its images alone (``remember_network_recurrent_state``).
    """
    stateful = [layer for layer in network if layer.stateful]
    states = [layer.state for layer in stateful]
    network.reset()
    try:
        yield
    finally:
        for layer, state in zip(stateful, states, strict=True):
            layer.state = state


@contextmanager
def evaluating(network: Network) -> Iterator[None]:
    """Compute for inference inside the block: eval mode, float32 and the CPU as torch's defaults; all are restored."""
    with eval_mode(network), standard_defaults():
        yield


def unwrap(network: nn.Module) -> Network:
    """Return the ``Network`` in ``torch.compile``, ``DataParallel``, ``DistributedDataParallel`` and similar modules.

    Raises:
        DarknetError: there is none, under the names that PyTorch's wrappers use.
    """
    inner: object = network
    for _ in range(_MAX_WRAPPERS):
        if isinstance(inner, Network):
            return inner
        inner = getattr(inner, "_orig_mod", None) or getattr(inner, "module", None)
    raise DarknetError(
        f"expected a Network, or one wrapped by torch.compile, DataParallel or the like, got a {type(network).__name__}"
    )
