"""``NaNCheck``: stops a training whose numbers are none any more before they reach the weights, and says where.

What is not finite spreads: one wrong number in a layer and all of the network is lost with the next update. So
losses and gradients are looked at before each update and weights before each file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..errors import DarknetError
from ..network import Network
from .distributed import ProcessGroup
from .loader import Batch

_NAMED = 8  # images named in a message


class NaNCheck:
    """Looks after a network. ``batch``: the iteration at work; ``saved``: what is said of the last good file."""

    def __init__(self, network: Network, team: ProcessGroup) -> None:
        self.network, self.team = network, team
        self.batch: Batch | None = None
        self.saved = "nothing has been saved yet"

    def losses(self, parts: Sequence[Mapping[int, Mapping[str, float]]]) -> None:
        """Look at the losses of an iteration's mini-batches and at the gradients. Raises DarknetError."""
        wrong = {
            number: layer
            for number, figures in enumerate(parts)
            for layer, of_layer in figures.items()
            if not math.isfinite(of_layer.get("cost", 0.0))
        }
        found = {name: p.grad for name, p in self.network.named_parameters() if p.grad is not None}
        bad = _not_finite(found)
        if self._anyone(bool(wrong or bad)):
            what = f"the gradient of {self._place(bad[-1])} is not finite" if bad else ""
            what = what or "".join(f"the loss of layer {layer} is not finite" for layer in list(wrong.values())[:1])
            self._stop(what, list(wrong) or list(range(len(parts))))

    def weights(self) -> None:
        """Look at the weights. Raises DarknetError."""
        bad = _not_finite(self.network.state_dict())
        if self._anyone(bool(bad)):
            self._stop(f"{self._place(bad[0])} is not finite after the update" if bad else "", [])

    def _anyone(self, wrong: bool) -> bool:
        device = next(self.network.parameters()).device
        return bool(self.team.total(torch.tensor(float(wrong), device=device)))

    def _stop(self, what: str, numbers: Sequence[int]) -> None:
        """Look where it comes from and raise; the other processes say what they have found, too."""
        text = "; ".join(part for part in (what, self._origin(numbers) if what else "") if part)
        told = [t for t in self.team.gather(text) if t]
        options = self.network.options
        advice = f"a lower learning_rate ({options.learning_rate:g} now), a longer burn_in ({options.burn_in} now)"
        raise DarknetError(
            f"{self._when()}{told[0] if told else what}. "
            f"Training stops before its weights are lost: {self.saved}. What helps: {advice}, max_delta= in the heads, "
            "labels without errors (darknet-py check DATA looks for them); then go on with --resume"
        )

    def _when(self) -> str:
        return f"iteration {self.batch.iteration + 1}: " if self.batch else ""

    def _origin(self, numbers: Sequence[int]) -> str:
        """The first layer whose output is wrong, and the images it is wrong for."""
        if self.batch is None:
            return ""
        spoiled = _not_finite(self.network.state_dict())
        if spoiled:
            return f"{self._place(spoiled[0])} is not finite already"
        images: list[str] = []
        first = ""
        for number in numbers:
            layer, rows = self._look(self.batch.pairs[number][0])
            of_batch = self.batch.images[number] if number < len(self.batch.images) else []
            if rows:
                first = first or layer
                images += [name for row in rows if row < len(of_batch) for name in of_batch[row]]
        if not first:
            images = [
                name for n, of_batch in enumerate(self.batch.images) if n in numbers for p in of_batch for name in p
            ]
        where = f"{first} is the first whose output is not" if first else "made again, all outputs are finite"
        shown = ", ".join(list(dict.fromkeys(images))[:_NAMED])
        more = len(dict.fromkeys(images)) - _NAMED
        return f"{where}; images: {shown or 'unknown'}" + (f" and {more} more" if more > 0 else "")

    @torch.no_grad()
    def _look(self, x: Tensor) -> tuple[str, list[int]]:
        """The first layer with a wrong output for images ``x``, and which of them."""
        found: list[tuple[str, list[int]]] = []
        x = x.to(next(self.network.parameters()).device, torch.float32)
        if rows := _rows(x):
            return "the input", rows

        def look(index: int) -> object:
            def hook(layer: nn.Module, inputs: object, output: Tensor) -> None:
                if not found and (rows := _rows(output)):
                    found.append((self._place(f"layers.{index}."), rows))

            return hook

        hooks = [layer.register_forward_hook(look(i)) for i, layer in enumerate(self.network)]  # type: ignore[arg-type]
        kept = {name: tensor.clone() for name, tensor in self.network.named_buffers()}
        self.network.train()
        try:
            self.network(x)
        finally:
            for hook in hooks:
                hook.remove()
            for name, buffer in self.network.named_buffers():
                buffer.copy_(kept[name])
            self.network.eval()
            self.network.reset()
        return found[0] if found else ("", [])

    def _place(self, name: str) -> str:
        """What errors call an entry of the state dict."""
        _, number, *rest = name.split(".")
        section = self.network.config.sections[int(number) + 1].name
        return " ".join(part for part in (f"layer {number} [{section}]", ".".join(rest)) if part)


def _not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of those with a number that is none, in order."""
    names = [name for name, tensor in tensors.items() if tensor.is_floating_point()]
    if not names:
        return []
    largest = torch._foreach_norm([tensors[name].detach() for name in names], float("inf"))
    finite = torch.stack([norm.float() for norm in largest]).isfinite()
    if bool(finite.all()):
        return []
    return [name for name, fine in zip(names, finite.tolist(), strict=True) if not fine]


def _rows(x: Tensor) -> list[int]:
    """Images of a batch whose numbers are not all finite."""
    fine = x.isfinite().flatten(1).all(dim=1)
    return [row for row, good in enumerate(fine.tolist()) if not good]
