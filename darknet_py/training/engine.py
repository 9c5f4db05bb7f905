"""The forward and backward pass of a mini-batch: losses, gradients, and self-adversarial training.

``torch.autograd`` runs the backward pass, also where gradients are Darknet's own: a layer with a loss passes on the
gradient that reaches it unchanged, and its ``Loss.delta`` is added at its input (see ``layers._loss``). A layer that
Darknet does not have passes on its derivative.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..distributed import ProcessGroup
from ..errors import ConfigError, DataError
from ..layers import Gradients, Layer, Loss, StepContext, pad_targets, scalar_with_gradients, straight_through
from ..modes import standard_defaults
from ..network import Network
from .data_parallel import DataParallel, create_data_parallel
from .loss_scale import GradScaler
from .trained_layers import TrainedLayers

Targets = Tensor | Sequence[Tensor]
_BOX_DIMENSIONS = 3  # of padded targets [batch, n, 6]; class targets are [batch, classes]
_ADVERSARIAL_PROBABILITY = 0.5


@runtime_checkable
class _OverwritesGradient(Protocol):
    """A layer that overwrites the gradient of its input in C's CPU build (``Gradients.DARKNET_CPU``)."""

    overwrites_input_gradient: bool


@runtime_checkable
class _Recurrent(Protocol):
    """A layer that is unrolled over time."""

    has_exact_gradient_in_c: bool


class StepOutput(NamedTuple):
    """A layer with a loss, its input in this pass, and its loss."""

    layer: Layer
    x: Tensor
    loss: Loss


class ForwardBackward:
    """Runs mini-batches forward and backward, inside ``training()``.

    Args:
        network: The network to train.
        gradients: How gradients are computed.
        freeze: Number of layers at the beginning that are not trained and keep their batch norm statistics.
        amp: Dtype of mixed precision; None for float32 throughout.
        rng: Decides which mini-batches are perturbed (``adversarial_lr=``).

    Raises:
        ConfigError: No layer has a loss, or ``freeze`` is out of range.
    """

    def __init__(
        self, network: Network, gradients: Gradients, *, freeze: int, amp: torch.dtype | None, rng: random.Random
    ) -> None:
        self.network = network
        self.net = network.options
        self.gradients = gradients
        self.amp = amp
        self.rng = rng
        self.exact_recurrence = not all(
            layer.has_exact_gradient_in_c for layer in network if isinstance(layer, _Recurrent)
        )
        self.scaler = GradScaler(self.net.loss_scale, half=amp is torch.float16)
        self.loss_layers = [layer for layer in network if layer.has_loss]
        if all(layer.options.onlyforward for layer in self.loss_layers):
            raise ConfigError(
                "no layer of the network has a loss, or all of them have onlyforward=1: nothing to train for"
            )
        self.trained_layers = TrainedLayers(network, freeze)
        self._outputs: list[StepOutput] = []
        self._data_parallel: DataParallel | None = None
        self._group: ProcessGroup | None = None
        self._trained: list[bool] = []

    @contextmanager
    def training(self, iteration: int, group: ProcessGroup | None = None) -> Iterator[None]:
        """Put the network in training mode as it is after ``iteration`` updates; restore it afterwards.

        Inside, gradients are recorded and new tensors are float32, whatever torch's global settings are.

        Args:
            iteration: Number of updates made.
            group: The processes over which gradients are summed; None for a single process.

        Raises:
            ConfigError: No parameter can be trained.
        """
        with training_environment(), self.trained_layers.in_training_mode(iteration):
            self._join(group)
            yield

    def _join(self, group: ProcessGroup | None) -> None:
        """Prepare the sum of the gradients of those parameters that are trained now."""
        trained = [parameter.requires_grad for parameter in self.network.parameters()]
        if group is not self._group or trained != self._trained:
            self.leave()
            self._group, self._trained = group, trained
            if group is not None:
                self._data_parallel = create_data_parallel(self._forward_to_root, self.network.parameters(), group)

    def leave(self) -> None:
        """Release what belongs to the process group of the last ``training()``."""
        self._data_parallel, self._group, self._trained = None, None, []

    def run(
        self, images: Tensor, targets: Targets, context: StepContext, *, sums_gradients: bool = True
    ) -> list[StepOutput]:
        """Run one mini-batch forward and backward, and accumulate the gradients of the parameters.

        Args:
            images: Float [batch, channels, height, width] in 0..1.
            targets: For a detector, one tensor [n, 5] or [n, 6] per image (see ``pad_targets``); for a classifier
                float [batch, classes].
            context: The state of training.
            sums_gradients: With several processes, whether to sum the accumulated gradients over them.

        Returns:
            The layers with a loss, in order.

        Raises:
            DataError: There are more or fewer targets than images.
        """
        device = next(self.network.parameters()).device
        x = images.to(device, torch.float32, non_blocking=True)
        if x.is_inference():
            x = x.clone()  # those of torch.inference_mode cannot be saved for the backward pass
        batch_targets = targets if isinstance(targets, Tensor) else pad_targets(targets)
        if len(batch_targets) != len(x):
            raise DataError(f"{len(batch_targets)} targets for {len(x)} images")
        if batch_targets.dim() == _BOX_DIMENSIONS:
            batch_targets = batch_targets.cpu()
            context = replace(context, targets=batch_targets)
        else:
            batch_targets = batch_targets.to(device, non_blocking=True)
        if self._draw_adversarial(context):
            x = self._perturb(x, batch_targets, context)
        parallel = self._data_parallel
        with nullcontext() if parallel is None else parallel.accumulating(sums=sums_gradients):
            root = (parallel or self._forward_to_root)(x, batch_targets, context)
            if root is not None:
                torch.autograd.backward(root)
        outputs, self._outputs = self._outputs, []
        return outputs

    def _forward_to_root(self, x: Tensor, targets: Tensor, context: StepContext) -> Tensor | None:
        """Run forward, and keep the layers with a loss in ``_outputs``; see ``_root``."""
        self._outputs = self._forward(x, targets, context)
        return self._root(self._outputs)

    def _forward(self, x: Tensor, targets: Tensor, context: StepContext) -> list[StepOutput]:
        calls: list[tuple[Layer, Tensor, Tensor]] = []

        def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            assert isinstance(layer, Layer)
            calls.append((layer, inputs[0], output))
            as_darknet = context.darknet_gradients and layer.is_darknets
            return straight_through(inputs[0], output) if as_darknet else output

        with ExitStack() as hooks:
            for layer in self.loss_layers:
                hooks.callback(layer.register_forward_hook(record).remove)
            for index, layer in enumerate(self.network):
                if self.gradients is Gradients.DARKNET_CPU:
                    hooks.callback(layer.register_forward_pre_hook(self._detach_overwritten(index)).remove)
                if layer.options.onlyforward:
                    hooks.callback(layer.register_forward_hook(_detach_output).remove)
            with torch.autocast(x.device.type, self.amp, enabled=self.amp is not None):
                self.network(x, context)
        return [
            StepOutput(layer, x, _loss(layer, x.float(), output.float(), targets, context))
            for layer, x, output in calls
        ]

    def _detach_overwritten(self, index: int) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
        """A pre-hook that detaches those inputs of layer ``index`` whose gradient a later layer overwrites.

        In C's CPU build (see ``Gradients``) the layer right after a source can overwrite the source's gradient.
        """
        keeps_gradient = [
            source < 0 or source == index - 1 or not isinstance(self.network[source + 1], _OverwritesGradient)
            for source in self.network.sources[index]
        ]
        return lambda layer, inputs: tuple(
            x if keep else x.detach() for x, keep in zip(inputs, keeps_gradient, strict=True)
        )

    def _root(self, outputs: list[StepOutput]) -> Tensor | None:
        """A scalar at which the backward pass starts; None if no layer has a gradient."""
        factor = self.scaler.factor
        starts: list[Tensor] = []
        gradients: list[Tensor] = []
        for layer, x, loss in outputs:
            if self.gradients is Gradients.AUTOGRAD or loss.differentiable:
                if loss.value.requires_grad:
                    starts.append(loss.value)
                    gradients.append(torch.full_like(loss.value, factor))
            elif x.requires_grad and not layer.options.onlyforward:
                starts.append(x)
                gradients.append((-factor * loss.delta).to(x.dtype))
        if not starts:
            return None
        return scalar_with_gradients(starts, gradients)

    def _draw_adversarial(self, context: StepContext) -> bool:
        """Whether to perturb a mini-batch first: half of them at random, after burn-in, if no layer is frozen."""
        enabled = bool(self.net.adversarial_lr) and context.iteration > self.net.burn_in
        return (
            enabled
            and self.trained_layers.first(context.iteration) == 0
            and self.rng.random() < _ADVERSARIAL_PROBABILITY
        )

    def _perturb(self, x: Tensor, targets: Tensor, context: StepContext) -> Tensor:
        """Images perturbed to suppress the network's detections (self-adversarial training).

        Args:
            x: Images, float [batch, channels, height, width] in 0..1.
            targets: The ground truth; only its shape counts.
            context: The state of training.

        Returns:
            ``x - adversarial_lr * iteration / max_batches * gradient``, clamped to 0..1; with ``contrastive=1`` every
            second image is unchanged.
        """
        start = x.detach().clone().requires_grad_()
        no_targets = torch.zeros_like(targets)
        adversarial = replace(context, adversarial=True, targets=no_targets)
        root = self._root(self._forward(start, no_targets, adversarial))
        if root is None:
            return x
        (gradient,) = torch.autograd.grad(root, start)
        strength = self.net.adversarial_lr * context.iteration / max(context.max_batches, 1) / self.scaler.factor
        perturbed = (x - strength * gradient).clamp(0, 1).nan_to_num(0.0)  # C's fmaxf turns NaN into 0
        if self.net.contrastive:
            perturbed[1::2] = x[1::2]
        return perturbed


@contextmanager
def training_environment() -> Iterator[None]:
    """Record gradients and create float32 tensors on the CPU inside the block, whatever torch's global settings are."""
    with torch.inference_mode(False), torch.enable_grad(), standard_defaults():
        yield


def loss_metrics(network: Network, outputs: Sequence[StepOutput]) -> dict[int, dict[str, Tensor]]:
    """Scalars for the log: by layer number, the cost of each layer with a loss and the parts of its loss."""
    numbers = {id(layer): index for index, layer in enumerate(network)}
    return {numbers[id(output.layer)]: {**output.loss.parts, "cost": output.loss.cost} for output in outputs}


def read_scalars(scalars: Sequence[Tensor]) -> list[float]:
    """The values of 0-dimensional tensors; those on a device are copied together."""
    on_device = [scalar.detach().float() for scalar in scalars if scalar.device.type != "cpu"]
    copied = iter(torch.stack(on_device).tolist() if on_device else ())
    return [float(scalar) if scalar.device.type == "cpu" else next(copied) for scalar in scalars]


def _loss(layer: Layer, x: Tensor, output: Tensor, targets: Tensor, context: StepContext) -> Loss:
    """The loss of a layer; with ``onlyforward=1`` zero, as in ``forward_yolo_layer_gpu``."""
    if layer.options.onlyforward:
        zero = x.new_zeros(())
        return Loss(cost=zero, delta=torch.zeros_like(x), value=zero)
    return layer.loss(x, output, targets, context)


def _detach_output(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.detach()
