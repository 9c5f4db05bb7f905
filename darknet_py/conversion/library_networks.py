"""Networks of other libraries: where their state dicts have the arrays of each layer of a cfg.

A network is named after its cfg in ``cfgs/``: ``torchvision/resnet50`` is that of ``cfgs/torchvision/resnet50.cfg``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


class Modules(NamedTuple):
    """The modules that have the arrays of one layer.

    Attributes:
        weights: name of the convolution or linear module; empty for ``[batchnorm]``.
        norm: name of the batch norm; empty for none.
        has_bias: without batch norm, whether ``weights`` has a bias.
        reorder: permutation of the filters' inputs, float [filters, inputs, height, width], which is its own inverse.
    """

    weights: str
    norm: str = ""
    has_bias: bool = True
    reorder: Callable[[Tensor], Tensor] | None = None


class LibraryNetwork(NamedTuple):
    """A network of another library.

    Attributes:
        name: its name in ``NAMES``.
        layers: modules of the layers with arrays, in the order of the cfg, without layer 0.
        images: weights [3][3] and biases [3] of layer 0, which makes the library's input of RGB in 0..1.
        epsilon: what the library's batch norm adds to the variance.
    """

    name: str
    layers: tuple[Modules, ...]
    images: tuple[Sequence[Sequence[float]], Sequence[float]]
    epsilon: float = 1e-5

    def current_name(self, name: str) -> str:
        """Return the name of a tensor; torchvision's published DenseNets have older ones (``norm.1`` for ``norm1``)."""
        return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)


_MEAN = (0.485, 0.456, 0.406)  # of ImageNet's red, green and blue in 0..1
_STD = (0.229, 0.224, 0.225)
_NORMALISED = (
    [[1 / std if row == column else 0.0 for column in range(3)] for row, std in enumerate(_STD)],
    [-mean / std for mean, std in zip(_MEAN, _STD, strict=True)],
)
_BGR_255 = ([[0.0, 0.0, 255.0], [0.0, 255.0, 0.0], [255.0, 0.0, 0.0]], [0.0, 0.0, 0.0])  # as OpenCV reads images


def _resnet(depths: Iterable[int]) -> Iterator[Modules]:
    yield Modules("conv1", "bn1")
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            name = f"layer{stage}.{block}"
            yield from (Modules(f"{name}.conv{number}", f"{name}.bn{number}") for number in (1, 2, 3))
            if block == 0:
                yield Modules(f"{name}.downsample.0", f"{name}.downsample.1")
    yield Modules("fc")


def _vgg16() -> Iterator[Modules]:
    yield from (Modules(f"features.{number}") for number in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))
    yield from (Modules(f"classifier.{number}") for number in (0, 3, 6))


def _densenet(depths: Sequence[int]) -> Iterator[Modules]:
    yield Modules("features.conv0", "features.norm0")
    for stage, depth in enumerate(depths, start=1):
        for layer in range(1, depth + 1):
            name = f"features.denseblock{stage}.denselayer{layer}"
            yield Modules("", f"{name}.norm1")
            yield Modules(f"{name}.conv1", f"{name}.norm2")
            yield Modules(f"{name}.conv2", has_bias=False)
        if stage < len(depths):
            yield Modules("", f"features.transition{stage}.norm")
            yield Modules(f"features.transition{stage}.conv", has_bias=False)
    yield Modules("", "features.norm5")
    yield Modules("classifier")


def _conv_bn(name: str, reorder: Callable[[Tensor], Tensor] | None = None) -> Modules:
    """Modules of timm's ``ConvNormAct`` and of mmcv's ``ConvModule``."""
    return Modules(f"{name}.conv", f"{name}.bn", reorder=reorder)


def _timm(
    depths: Sequence[int], convolutions: int = 2, *, csp: bool = True, first_stride: int = 2
) -> Iterator[Modules]:
    """Modules of timm's ``CspNet``; ``convolutions`` of each block."""
    yield _conv_bn("stem.conv1")
    for stage, depth in enumerate(depths):
        name = f"stages.{stage}"
        if stage or first_stride > 1:
            yield _conv_bn(f"{name}.conv_down")
        if csp:
            yield _conv_bn(f"{name}.conv_exp")
        for block in range(depth):
            yield from (_conv_bn(f"{name}.blocks.{block}.conv{number + 1}") for number in range(convolutions))
        if csp:
            yield _conv_bn(f"{name}.conv_transition_b")
            yield _conv_bn(f"{name}.conv_transition")
    yield Modules("head.fc")


def _mmdetection() -> Iterator[Modules]:
    yield _conv_bn("stem.conv", _swap_inner_quarters)
    for stage, depth in enumerate((3, 9, 9, 3), start=1):
        name = f"stage{stage}"
        yield _conv_bn(f"{name}.0")
        if stage == 4:
            yield _conv_bn(f"{name}.1.conv1")
            yield _conv_bn(f"{name}.1.conv2")
        csp = f"{name}.{2 if stage == 4 else 1}"
        yield _conv_bn(f"{csp}.short_conv")
        yield _conv_bn(f"{csp}.main_conv")
        for block in range(depth):
            yield from (_conv_bn(f"{csp}.blocks.{block}.conv{number}") for number in (1, 2))
        yield _conv_bn(f"{csp}.final_conv")


def _swap_inner_quarters(weights: Tensor) -> Tensor:
    """Focus orders the pixels of a block by columns, ``[reorg3d]`` by rows."""
    swapped: Tensor = weights.unflatten(1, (4, -1))[:, [0, 2, 1, 3]].flatten(1, 2)
    return swapped


_NETWORKS: dict[str, Callable[[], Iterable[Modules]]] = {
    "torchvision/resnet50": partial(_resnet, (3, 4, 6, 3)),
    "torchvision/resnet101": partial(_resnet, (3, 4, 23, 3)),
    "torchvision/resnext50_32x4d": partial(_resnet, (3, 4, 6, 3)),
    "torchvision/vgg16": _vgg16,
    "torchvision/densenet121": partial(_densenet, (6, 12, 24, 16)),
    "torchvision/densenet201": partial(_densenet, (6, 12, 48, 32)),
    "timm/cspdarknet53": partial(_timm, (1, 2, 8, 8, 4)),
    "timm/cspresnext50": partial(_timm, (3, 3, 5, 2), 3, first_stride=1),
    "timm/darknet53": partial(_timm, (1, 2, 8, 8, 4), csp=False),
    "mmdetection/cspdarknet": _mmdetection,
}
NAMES = tuple(_NETWORKS)


def find(name: str) -> LibraryNetwork:
    """Return the network of a name in ``NAMES``.

    Raises:
        ConfigError: there is none.
    """
    if name not in _NETWORKS:
        raise ConfigError(f"{name}: expected a network of another library: {', '.join(NAMES)}")
    layers = tuple(_NETWORKS[name]())
    if name.startswith("mmdetection/"):
        return LibraryNetwork(name, layers, _BGR_255, epsilon=1e-3)
    return LibraryNetwork(name, layers, _NORMALISED)
