"""``NaNCheck``: stop training on NaN or Inf before it reaches the weights, and report where it first appeared.

NaN spreads: once it is in one weight, the next update puts it into the whole network. So losses and gradients are
checked before each update, and weights before each file is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..distributed import ProcessGroup
from ..errors import DarknetError, list_first
from ..network import Network
from .loader import Batch

_IMAGES_NAMED = 8  # in a message


class NonFiniteError(DarknetError):
    """A loss, gradient or weight of a training is NaN or Inf."""


class NaNCheck:
    """Checks a network for NaN and Inf.

    Attributes:
        batch: The batch of the current iteration; set by the trainer.
        last_saved: For the error message, what can be resumed from.
    """

    def __init__(self, network: Network, group: ProcessGroup) -> None:
        self.network = network
        self.group = group
        self.batch: Batch | None = None
        self.last_saved = "nothing has been saved yet"

    def check_gradients(self, metrics: Sequence[Mapping[int, Mapping[str, float]]], finite: bool) -> None:
        """Check the losses and gradients of an iteration. All processes call it.

        Args:
            metrics: Per mini-batch and layer with a loss its numbers, of which ``cost`` is the loss.
            finite: Whether all gradients are finite; only if not, they are searched.

        Raises:
            NonFiniteError: One of them is NaN or Inf.
        """
        bad_losses = {
            number: layer
            for number, layers in enumerate(metrics)
            for layer, values in layers.items()
            if not math.isfinite(values.get("cost", 0.0))
        }
        bad_gradients = [] if finite else self._bad_gradients()
        if self._any(bool(bad_losses or bad_gradients)):
            what = ""
            if bad_gradients:
                what = f"the gradient of {self._describe(bad_gradients[-1])} is NaN or Inf"
            elif bad_losses:
                what = f"the loss of layer {next(iter(bad_losses.values()))} is NaN or Inf"
            self._stop(what, list(bad_losses) or list(range(len(metrics))))

    def _bad_gradients(self) -> list[str]:
        return _non_finite({name: p.grad for name, p in self.network.named_parameters() if p.grad is not None})

    def check_weights(self) -> None:
        """Check the parameters and buffers. All processes call it. Raises NonFiniteError if one is NaN or Inf."""
        bad = _non_finite(self.network.state_dict())
        if self._any(bool(bad)):
            self._stop(f"{self._describe(bad[0])} is NaN or Inf after the update" if bad else "", [])

    def _any(self, flag: bool) -> bool:
        (result,) = self.group.any([flag], next(self.network.parameters()).device)
        return result

    def _stop(self, what: str, mini_batches: Sequence[int]) -> None:
        """Find the origin and raise. ``what``: "" if another process has the NaN."""
        text = "; ".join(part for part in (what, self._origin(mini_batches) if what else "") if part)
        messages = [message for message in self.group.all_gather(text) if message]
        net = self.network.options
        place = f"iteration {self.batch.iteration + 1}: " if self.batch else ""
        raise NonFiniteError(
            f"{place}{messages[0] if messages else what}. Training stops before NaN reaches the weights; "
            f"{self.last_saved}. To avoid it: a lower learning_rate (now {net.learning_rate:g}), a longer burn_in (now "
            f"{net.burn_in}), max_delta= in the heads, or correct labels (run darknet-py check DATA); then resume"
        )

    def _origin(self, mini_batches: Sequence[int]) -> str:
        """The first layer whose output is NaN or Inf, and the images for which it is."""
        if self.batch is None:
            return ""
        bad_weights = _non_finite(self.network.state_dict())
        if bad_weights:
            return f"{self._describe(bad_weights[0])} was NaN or Inf before"
        images: list[str] = []
        first_layer = ""
        for number in mini_batches:
            layer, rows = self._first_bad_output(self.batch.pairs[number][0])
            names = self.batch.images[number] if number < len(self.batch.images) else []
            if rows:
                first_layer = first_layer or layer
                images += [name for row in rows if row < len(names) for name in names[row]]
        if not first_layer:
            images = [
                name
                for number, names in enumerate(self.batch.images)
                if number in mini_batches
                for sources in names
                for name in sources
            ]
        where = "a second forward pass has no NaN or Inf"
        if first_layer:
            where = f"it first appears in the output of {first_layer}"
        unique = list(dict.fromkeys(images))
        return f"{where}; images: {list_first(unique, _IMAGES_NAMED) or 'unknown'}"

    @torch.no_grad()
    def _first_bad_output(self, x: Tensor) -> tuple[str, list[int]]:
        """The first layer whose output is NaN or Inf for images ``x``, and the indices of these images."""
        first: list[tuple[str, list[int]]] = []
        x = x.to(next(self.network.parameters()).device, torch.float32)
        if rows := _bad_rows(x):
            return "the data loader", rows

        def make_hook(index: int) -> object:
            def hook(layer: nn.Module, inputs: object, output: Tensor) -> None:
                if not first and (rows := _bad_rows(output)):
                    first.append((self._describe(f"layers.{index}."), rows))

            return hook

        hooks = [layer.register_forward_hook(make_hook(i)) for i, layer in enumerate(self.network)]  # type: ignore[arg-type]
        buffers = {name: tensor.clone() for name, tensor in self.network.named_buffers()}
        self.network.train()
        try:
            self.network(x)
        finally:
            for hook in hooks:
                hook.remove()
            for name, buffer in self.network.named_buffers():
                buffer.copy_(buffers[name])
            self.network.eval()
            self.network.reset()
        return first[0] if first else ("", [])

    def _describe(self, name: str) -> str:
        """Layer, section and tensor of an entry of the state dict, such as "layer 3 [convolutional] weights"."""
        _, number, *rest = name.split(".")
        section = self.network.config.sections[int(number) + 1].name
        return " ".join(part for part in (f"layer {number} [{section}]", ".".join(rest)) if part)


def _non_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the floating-point tensors that contain NaN or Inf, in order."""
    names = [name for name, tensor in tensors.items() if tensor.is_floating_point()]
    if not names:
        return []
    largest = torch._foreach_norm([tensors[name].detach() for name in names], float("inf"))
    finite = torch.stack([norm.float() for norm in largest]).isfinite()
    if bool(finite.all()):
        return []
    return [name for name, is_finite in zip(names, finite.tolist(), strict=True) if not is_finite]


def _bad_rows(x: Tensor) -> list[int]:
    """Indices of the images of a batch that contain NaN or Inf."""
    finite = x.isfinite().flatten(1).all(dim=1)
    return [row for row, is_finite in enumerate(finite.tolist()) if not is_finite]
