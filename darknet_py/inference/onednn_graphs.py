"""``OneDNNGraphEngine``: a network on a CPU as graphs of oneDNN, through TorchScript.

Each call of a convolution through torch takes 20 to 80 us beyond its arithmetic: most of the time of a network with
many small layers. oneDNN's graph compiler, to which TorchScript gives the network
(https://pytorch.org/docs/stable/jit.html#torch.jit.enable_onednn_fusion), prepares convolutions, activations and sums
once and keeps maps in its own layout between them. TorchScript is deprecated: where a build of torch lacks it, or
oneDNN's graphs, the engine is refused and the others stay.
"""

from __future__ import annotations

import collections
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..activations import Activation
from ..errors import DarknetError
from ..network import Network
from .engine_choice import TOLERANCE, relative_difference
from .fused_network import FusedNetwork
from .weight_tracker import TrackedEngine

Graph = Callable[[Tensor], tuple[Tensor, ...]]
_PACKAGE = __name__.partition(".")[0]
_MAX_GRAPHS = 4  # each holds the weights
_WARM_UP = 3  # calls in which TorchScript takes the types, and compiles
_lock = threading.RLock()  # the switch of the compiler is one for the process


def suits(network: Network) -> bool:
    """Whether oneDNN's graph compiler has all activations of the convolutions; it takes networks with mish apart."""
    specs = (layer.as_convolution() for layer in network)
    return not any(spec is not None and spec.activation is Activation.MISH for spec in specs)


class OneDNNGraphEngine(TrackedEngine):
    """A stateless network on a CPU, in float32: a function of ``images`` [batch, channels, height, width] in 0..1.

    The first call with each size takes about a second, in which the network is traced and compiled. It may be called
    from several threads.

    Args:
        network: The network, of layers of this package: those of a plug-in may do what a trace does not record.

    Raises:
        DarknetError: The network or this build of torch is not supported.
    """

    def __init__(self, network: Network) -> None:
        for index, layer in enumerate(network):
            if type(layer).__module__.partition(".")[0] != _PACKAGE:
                name = f"layer {index} [{network.config.sections[index + 1].name}]"
                raise DarknetError(f"engine graph: {name}: expected layers of this package, got one of a plug-in")
        super().__init__(network)
        self._graphs: collections.OrderedDict[torch.Size, Graph] = collections.OrderedDict()
        with _compiler():
            pass  # refuse a build of torch without it now, and not at the first image

    def compute(self, images: Tensor) -> list[Tensor]:
        """Compute the heads' outputs with the weights of the first call, without looking for changes of them."""
        x = self.network.to_batch(images)
        x = x.reshape(-1).view(x.shape)  # the strides of a trace, also those of sides of 1
        with self._lock:
            graph = self._graphs.get(x.shape)
            if graph is None:
                graph = self._graphs[x.shape] = self._open(x)
                if len(self._graphs) > _MAX_GRAPHS:
                    self._graphs.popitem(last=False)
        with torch.no_grad():
            return list(graph(x))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the network; the copy traces it again."""
        return type(self), (self.network,)

    def _renew(self) -> None:
        """Trace the network again at the next call with each size."""
        self._graphs.clear()

    def _open(self, x: Tensor) -> Graph:
        expected = self.network.predict(x)
        outputs = _Outputs(FusedNetwork(self.network, traced=True)).eval()
        with _compiler(), torch.no_grad(), warnings.catch_warnings():
            # Of deprecation, and of sizes that are constants: each size has a trace of its own.
            warnings.simplefilter("ignore")
            try:
                graph = _detach(torch.jit.freeze(torch.jit.trace(outputs, x, check_trace=False)))
                for _ in range(_WARM_UP):
                    computed = graph(x)
            except Exception as error:  # of the layers' code as well, where the sizes of a trace are tensors
                raise DarknetError(
                    f"engine graph: {self.network.config.path}: oneDNN cannot compile it: {_last_line(error)}"
                ) from error
        is_finite = all(bool(y.isfinite().all()) for y in expected)  # a NaN in the weights is no fault of the engine
        if is_finite and (difference := relative_difference(computed, expected)) > TOLERANCE:
            raise DarknetError(
                f"engine graph: {self.network.config.path}: outputs differ from the network's by {difference:.1e} of "
                "their RMS: expected another engine"
            )
        return graph


class _Outputs(nn.Module):
    """The outputs of a network as a tuple, which a trace needs."""

    def __init__(self, network: FusedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network(x))


def _detach(module: Any) -> Graph:
    """Return the function of a frozen module, and clear the module's own.

    TorchScript keeps the code of each module until the process ends: here all weights.
    """
    graph = module.graph.copy()
    graph.eraseInput(0)  # the module, which a frozen graph does not read
    function: Graph = torch._C._create_function_from_graph("forward", graph)
    while list(module.graph.outputs()):
        module.graph.eraseOutput(0)
    for node in reversed(list(module.graph.nodes())):
        node.destroy()
    return function


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].partition(". ")[0] if lines else "no reason given"


@contextmanager
def _compiler() -> Iterator[None]:
    """Let TorchScript give parts of the graphs that it compiles to oneDNN."""
    with _lock:
        try:
            before = torch.jit.onednn_fusion_enabled()
            torch.jit.enable_onednn_fusion(True)
        except (AttributeError, RuntimeError) as error:
            raise DarknetError(f"engine graph: this build of torch has no graphs of oneDNN: {error}") from error
        try:
            yield
        finally:
            torch.jit.enable_onednn_fusion(before)
