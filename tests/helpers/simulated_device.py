"""A simulated accelerator: tensors of the device ``sim`` hold the CPU's numbers and cannot be mixed with CPU tensors.

What CUDA refuses is refused on a machine without any GPU: an operator that is given tensors of both devices
(0-dimensional CPU tensors and CPU index tensors aside), and ``numpy()`` of a device tensor. Operators are counted, and
so are those that stall a GPU: synchronisations, and copies of ordinary host memory to the device. Under autocast,
convolutions and matrix products take the lower precision. It rests on torch's Python backend for PrivateUse1.
"""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree, backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

NAME = "sim"
aten = torch.ops.aten
# Operators that CUDA accepts with tensors of both devices.
_MIXING = {
    aten.copy_.default,
    aten._to_copy.default,
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
    aten._local_scalar_dense.default,
    aten.is_same_size.default,
}
_SYNCHRONISING = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.is_nonzero.default,
    aten.equal.default,
    aten._unique2.default,
    aten.bincount.default,
}
_INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
_AUTOCAST = ("conv2d", "convolution", "conv_transpose2d.input", "linear", "mm", "addmm", "bmm", "matmul")
_CONSTANTS = (torch.tensor, torch.as_tensor, torch.asarray)


class Simulation:
    """What happens on the device.

    Attributes:
        synchronisations: their number by operator.
        uploads: number of copies from the host that are not ``non_blocking``, constants included.
        operators: number of operators that ran on the device, views included.
        float64: whether the device has float64, unlike Apple's.
    """

    def __init__(self, *, float64: bool = True) -> None:
        self.synchronisations = collections.Counter[str]()
        self.uploads = self.operators = 0
        self.float64 = float64

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Count from zero inside the block."""
        self.synchronisations.clear()
        self.uploads = self.operators = 0
        yield

    def run(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run an operator on the numbers of its arguments."""
        device = None if kwargs.get("device") is None else torch.device(kwargs["device"])
        tensors = [leaf for leaf in _pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        simulated = [tensor for tensor in tensors if isinstance(tensor, SimulatedTensor)]
        others = [tensor for tensor in tensors if not isinstance(tensor, SimulatedTensor) and tensor.dim()]
        if simulated and others and func not in _MIXING:
            shape = tuple(others[0].shape)
            raise RuntimeError(f"expected all tensors on one device: {func} got {NAME} and cpu {shape}")
        self._count(func, args, kwargs, device)
        if func is aten.copy_.default:
            target, source = args[:2]
            numbers(target).copy_(numbers(source))
            return target
        options = dict(kwargs)
        if device is not None:
            options["device"] = torch.device("cpu") if device.type == NAME else device
        result = func(*_pytree.tree_map(numbers, args), **_pytree.tree_map(numbers, options))
        known = {id(tensor.numbers): tensor for tensor in simulated}  # in-place operators return their argument
        on_device = device.type == NAME if device is not None else bool(simulated)
        wrapped = _pytree.tree_map(functools.partial(self._wrap, known, on_device), result)
        changes_shape = torch.Tag.inplace_view in func.tags  # as squeeze_ in matmul: the wrapper gets the shape too
        return return_and_correct_aliasing(func, args, kwargs, wrapped) if changes_shape else wrapped

    def _count(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device | None) -> None:
        self.operators += 1
        synchronises = func in _SYNCHRONISING
        if func in _INDEXING:
            indices = [index for index in args[1] if index is not None]
            is_fill = len(args) > 2 and args[2].dim() == 0 and not isinstance(args[2], SimulatedTensor)
            synchronises = any(index.dtype in (torch.bool, torch.uint8) for index in indices) and not is_fill
            self.uploads += sum(not isinstance(index, SimulatedTensor) for index in indices)
        synchronises |= func is aten.repeat_interleave.Tensor and kwargs.get("output_size") is None
        if func is aten._to_copy.default and device is not None:
            source, on_device = args[0], device.type == NAME
        elif func is aten.copy_.default:
            source, on_device = args[1], isinstance(args[0], SimulatedTensor)
        else:
            source, on_device = None, False
        if isinstance(source, SimulatedTensor):
            synchronises = not on_device
        elif source is not None:
            self.uploads += on_device and not kwargs.get("non_blocking")
        if synchronises:
            self.synchronisations[str(func)] += 1

    def _wrap(self, known: Mapping[int, Tensor], on_device: bool, value: Any) -> Any:
        if not isinstance(value, Tensor) or not on_device:
            return value
        if value.dtype is torch.float64 and not self.float64:
            raise TypeError(f"{NAME} does not support float64")
        return known[id(value)] if id(value) in known else SimulatedTensor(value)


_running: list[Simulation] = [Simulation()]


class SimulatedTensor(Tensor):
    """A tensor whose device is ``sim``."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> SimulatedTensor:
        wrapper: SimulatedTensor = Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            layout=values.layout,
            device=torch.device(NAME, 0),
        )
        wrapper.numbers = values
        return wrapper

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"SimulatedTensor({self.numbers!r})"

    def data_ptr(self) -> int:
        return self.numbers.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.numbers.untyped_storage()

    def numpy(self, *, force: bool = False) -> Any:
        """Refuse, as CUDA's tensors do."""
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(f"cannot convert a tensor of the device {NAME} to numpy")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def new_tensor(self, data: Any, **options: Any) -> Tensor:  # type: ignore[override]
        """Make a tensor on the device."""
        values = torch.tensor(data, dtype=options.get("dtype", self.dtype))
        _running[-1].uploads += "device" not in options
        return values if "device" in options else SimulatedTensor(values)

    def tolist(self) -> Any:
        """Count the synchronisation."""
        _running[-1].synchronisations["tolist"] += 1
        return self.numbers.tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            copied: Tensor = SimulatedTensor(self.numbers.detach().clone())
            is_parameter = isinstance(self, nn.Parameter)
            memo[id(self)] = nn.Parameter(copied, self.requires_grad) if is_parameter else copied
        return memo[id(self)]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _running[-1].run(func, args, kwargs or {})


def numbers(value: Any) -> Any:
    """Return the CPU tensor of a simulated one, and anything else unchanged."""
    return value.numbers if isinstance(value, SimulatedTensor) else value


class _Factories(TorchDispatchMode):
    """Make ``torch.zeros(..., device="sim")`` and ``.to("sim")`` work."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        on_device = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == NAME
        if on_device or any(isinstance(leaf, SimulatedTensor) for leaf in _pytree.tree_leaves((args, kwargs))):
            return _running[-1].run(func, args, kwargs)
        return func(*args, **kwargs)


class _Constants(TorchFunctionMode):
    """Make ``torch.tensor(..., device="sim")`` work, whose inside no dispatch mode sees."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func not in _CONSTANTS or kwargs.get("device") is None or torch.device(kwargs["device"]).type != NAME:
            return func(*args, **kwargs)
        if isinstance(args[0], SimulatedTensor):
            return args[0]
        del kwargs["device"]
        _running[-1].uploads += 1
        return SimulatedTensor(func(*args, **kwargs))


def is_supported() -> bool:
    """Whether this version of torch can have a device that is written in Python."""
    return hasattr(backend_registration, "_setup_privateuseone_for_python_backend")


@functools.cache
def register() -> Any:
    """Register the device with torch, before the first backward pass, which starts a thread for each known device."""

    class Module(backend_registration._DummyBackendModule):
        def is_available(self) -> bool:  # DataParallel takes any device that is
            return len(_running) > 1

        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return [torch.float16, torch.bfloat16]

        def __getattr__(self, name: str) -> Callable[..., Any]:
            if name in ("synchronize", "manual_seed", "manual_seed_all", "set_device", "empty_cache", "init"):
                return lambda *_, **__: None
            raise AttributeError(name)

    backend_registration._setup_privateuseone_for_python_backend(NAME, Module())

    def empty(*size: Any, dtype: Any = None, **_: Any) -> Tensor:
        make = torch.empty if len(size) == 1 else torch.empty_strided
        return SimulatedTensor(make(*size, dtype=dtype))

    def copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
        numbers(target).copy_(numbers(source))
        return target

    fallback = torch.library.Library("_", "IMPL")
    fallback.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty.memory_format", empty, "PrivateUse1")
    library.impl("empty_strided", empty, "PrivateUse1")
    library.impl("_copy_from", copy_from, "PrivateUse1")
    for operator in _AUTOCAST:
        packet = getattr(aten, operator.partition(".")[0])
        library.impl(operator, functools.partial(_autocast, packet), "AutocastPrivateUse1")
    return library, fallback


def _autocast(operator: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operator in the precision of autocast."""
    dtype = torch.get_autocast_dtype(NAME)

    def cast(value: Any) -> Any:
        is_float = isinstance(value, Tensor) and value.dtype.is_floating_point and value.dtype != torch.float64
        return value.to(dtype) if is_float else value

    key: Any = torch._C._parse_dispatch_key("AutocastPrivateUse1")
    keys = torch._C.DispatchKeySet(key)
    with torch._C._ExcludeDispatchKeyGuard(keys):
        return operator(*_pytree.tree_map(cast, args), **_pytree.tree_map(cast, kwargs))


@contextlib.contextmanager
def simulated(*, float64: bool = True) -> Iterator[Simulation]:
    """Simulate a device inside the block; the test is skipped where torch cannot."""
    if not is_supported():
        pytest.skip("the simulated device needs torch 2.9 or later")
    register()
    _running.append(Simulation(float64=float64))
    try:
        with pytest.MonkeyPatch.context() as patch, _Factories(), _Constants():  # type: ignore[no-untyped-call]
            # Wrapper tensors cannot be made in inference mode.
            patch.setattr(torch, "inference_mode", lambda on=True: torch.no_grad() if on else contextlib.nullcontext())
            yield _running[-1]
    finally:
        _running.pop()


def to_device(module: nn.Module) -> None:
    """Move parameters and buffers to the device, in place."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            moved = nn.Parameter(SimulatedTensor(parameter.detach()), requires_grad=parameter.requires_grad)
            part._parameters[name] = moved
        for name, buffer in part.named_buffers(recurse=False):
            part._buffers[name] = SimulatedTensor(buffer.detach())
