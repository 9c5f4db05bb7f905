"""Write tests/golden/backbones.npz: what networks of other libraries compute, for ``conversion.library_networks``.

    python -m venv lib && lib/bin/pip install torch torchvision timm mmengine mmcv-lite
    lib/bin/pip install --no-deps mmdet
    lib/bin/python tools/make_backbones_golden.py

Written with torch 2.13.0 (CPU), torchvision 0.28.0, timm 1.0.31 and mmdet 3.3.0. Weights and images are random with
fixed seeds (``fill``, ``image``), so that a test makes the same without the libraries.
"""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import sys
import types
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

TARGET = pathlib.Path(__file__).resolve().parents[1] / "tests" / "golden" / "backbones.npz"
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# Name and side of the image.
NETWORKS = {
    "torchvision/resnet50": 64,
    "torchvision/resnet101": 64,
    "torchvision/resnext50_32x4d": 64,
    "torchvision/vgg16": 224,
    "torchvision/densenet121": 64,
    "torchvision/densenet201": 64,
    "timm/cspdarknet53": 64,
    "timm/cspresnext50": 64,
    "timm/darknet53": 64,
    "mmdetection/cspdarknet": 64,
}
KEPT = 100  # values of each output
_PERIOD = 65537  # of the random numbers; prime, so that filters differ


def fill(state: Mapping[str, Tensor]) -> None:
    """Set the values of a state dict by the names of its tensors."""
    random = np.random.RandomState(0)  # its streams do not change between versions
    normal = random.standard_normal(_PERIOD).astype(np.float32)
    uniform = random.uniform(size=_PERIOD).astype(np.float32)
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        numbers = normal if tensor.dim() > 1 else uniform
        values: npt.NDArray[Any] = np.resize(
            np.roll(numbers, -zlib.crc32(name.encode()) % _PERIOD), tuple(tensor.shape)
        )
        if tensor.dim() > 1:
            values *= np.float32(np.sqrt(2 / tensor[0].numel()))
        elif name.endswith("running_var"):
            values += np.float32(0.2)
        elif name.endswith("weight"):
            values = (values + 1) / 2
        else:
            values = (values - np.float32(0.5)) / 2
        tensor.copy_(torch.from_numpy(values))


def image(side: int) -> Tensor:
    """Return an image [1, 3, side, side] of RGB in 0..1."""
    return torch.from_numpy(np.random.RandomState(0).uniform(size=(1, 3, side, side))).float()


def kept(output: Tensor) -> Tensor:
    """Return the values of an output that the file holds."""
    return output.flatten()[:: max(1, output.numel() // KEPT)]


def preprocess(name: str, x: Tensor) -> Tensor:
    """Return what the library gives its network for RGB in 0..1: normalised images, or YOLOX's BGR in 0..255."""
    if name.startswith("mmdetection/"):
        return 255 * x.flip(1)
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def build_model(name: str) -> Any:
    """Return a network of a library with the weights of ``fill``, in eval mode."""
    library, _, network = name.partition("/")
    if library == "torchvision":
        model = importlib.import_module("torchvision").models.get_model(network, weights=None)
    elif library == "timm":
        model = importlib.import_module("timm").create_model(network)
    else:
        model = import_cspdarknet()()
    with torch.no_grad():
        fill(model.state_dict())
    model.eval()
    return model


def import_cspdarknet() -> Any:
    """Return mmdetection's ``CSPDarknet`` from its file alone: the package needs operators that mmcv compiles."""
    spec = importlib.util.find_spec("mmdet")
    assert spec is not None
    assert spec.origin is not None
    root = pathlib.Path(spec.origin).parent
    for name in ("", ".models", ".models.backbones", ".models.layers", ".utils"):
        module = types.ModuleType(f"mmdet{name}")
        module.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[f"mmdet{name}"] = module
    for name in ("ConfigType", "OptConfigType", "MultiConfig", "OptMultiConfig", "InstanceList"):
        setattr(sys.modules["mmdet.utils"], name, object)
    layers: Any = sys.modules["mmdet.models.layers"]
    layers.CSPLayer = importlib.import_module("mmdet.models.layers.csp_layer").CSPLayer
    return importlib.import_module("mmdet.models.backbones.csp_darknet").CSPDarknet


def main() -> None:
    """Compute the values and write them."""
    library = torch.library.Library("torchvision", "DEF")  # its wheel of PyPI is built for CUDA: without that its
    for name in ("nms", "qnms"):  # operators are missing, which these networks do not need, and which it asks for
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    values: dict[str, Any] = {}
    for name, side in NETWORKS.items():
        model = build_model(name)
        with torch.no_grad():
            output = model(preprocess(name, image(side)))
        outputs: Sequence[Tensor] = [output] if isinstance(output, Tensor) else output
        state = model.state_dict()
        values[f"{name}/names"] = np.array(list(state))
        values[f"{name}/shapes"] = np.array([" ".join(map(str, tensor.shape)) for tensor in state.values()])
        for number, one in enumerate(outputs):
            values[f"{name}/output{number}"] = kept(one).numpy()
            values[f"{name}/rms{number}"] = one.square().mean().sqrt().numpy()
        print(name, len(state), [f"{float(one.square().mean().sqrt()):.4g}" for one in outputs])
    np.savez_compressed(TARGET, **values)
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
