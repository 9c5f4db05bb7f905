"""State dicts in files of ``torch.save``: where they are nested, and by which names they hold a ``Network``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import CheckpointError, DarknetError
from ..modes import update_computed
from ..network import Network

# Keys of a state dict in the files of training programs; of several the first that is there.
_WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "ema",
    "model_ema",
    "state_dict_ema",
    "ema_state_dict",
    "ema_model",
    "net",
    "network",
    "weights",
    "module",
)
_OWN_NAME = re.compile(r"((?:\w+\.)*?)(layers\.\d+\.[\w.]+)")
_OWN_ARRAYS = ("weights", "biases", "scales", "rolling_mean", "rolling_variance")


def plain_state_dict(network: Network) -> dict[str, Tensor]:
    """Return ``state_dict()`` as of an unmodified network, which every network of this cfg can load.

    Tensors that ``torch.nn.utils.parametrize`` or ``prune`` compute are included as they are computed, and their
    parameters and anything else that was added to the layers are left out.

    Raises:
        DarknetError: a layer was replaced, or a tensor has another shape.
    """
    list(network)  # raises for replaced layers
    update_computed(network)
    state = {}
    for name, shape in network.shapes.items():
        path, _, attribute = name.rpartition(".")
        try:
            tensor = getattr(network.get_submodule(path), attribute)
        except AttributeError:
            raise DarknetError(f"{network.config.path}: {name} was removed from the network") from None
        if tensor.shape != shape:
            found = f"expected {tuple(shape)} as in the cfg, found {tuple(tensor.shape)}"
            raise DarknetError(f"{network.config.path}: {name}: {found}")
        state[name] = tensor.detach()
    return state


def find_state_dict(content: Any, path: str) -> dict[str, Tensor]:
    """Return the state dict in the content of a .pt or .safetensors file, without ``num_batches_tracked``.

    Args:
        content: a dict of tensors, or a dict that contains one under a common key (``state_dict``, ``model``, ...).
        path: name of the file, for errors.

    Raises:
        CheckpointError: there is no dict of tensors.
    """
    for _ in _WRAPPERS:
        if not isinstance(content, Mapping) or any(isinstance(value, Tensor) for value in content.values()):
            break
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    entries = content if isinstance(content, Mapping) else {}
    state = {name: value for name, value in entries.items() if isinstance(value, Tensor) and isinstance(name, str)}
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    if not state:
        raise CheckpointError(f"{path}: no state dict: expected a dict of tensors by name")
    return state


def own_state_dict(content: Any, path: str) -> dict[str, Tensor]:
    """Return the state dict of a ``Network`` in the content of a file, or an empty dict if it is another program's.

    Names may have a prefix, as of a network in another module (``model.``), in ``DistributedDataParallel``
    (``module.``) or compiled (``_orig_mod.``). Tensors of other modules are left out.

    Raises:
        CheckpointError: the file contains several networks.
    """
    try:
        state = find_state_dict(content, path)
    except CheckpointError:
        return {}
    own: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        match = _OWN_NAME.fullmatch(name)
        if match is not None:
            own.setdefault(match[1], {})[match[2]] = tensor
    own = {prefix: tensors for prefix, tensors in own.items() if _is_own(tensors)}
    if len(own) > 1:
        raise CheckpointError(f"{path}: expected one network, found several: {', '.join(sorted(own))}")
    return _without_masks(next(iter(own.values()), {}))


def layer_of(name: str) -> int:
    """Return the index of the layer that an entry of a state dict belongs to; -1 for none."""
    number = name.split(".")[1:2]
    return int(number[0]) if number and re.fullmatch("[0-9]{1,9}", number[0]) else -1


def _is_own(tensors: Mapping[str, Tensor]) -> bool:
    arrays = {name.rpartition(".")[2].removesuffix("_orig") for name in tensors}
    return bool(arrays & set(_OWN_ARRAYS)) and not arrays & {"weight", "bias"}


def _without_masks(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with the masks of ``torch.nn.utils.prune`` applied."""
    plain = {}
    for name, tensor in tensors.items():
        stem = name.removesuffix("_orig")
        mask = tensors.get(f"{stem}_mask")
        if stem != name and mask is not None and mask.shape == tensor.shape:
            plain[stem] = tensor * mask
        elif not (name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in tensors):
            plain[name] = tensor
    return plain
