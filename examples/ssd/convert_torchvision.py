"""Convert weights of torchvision's SSD300 to a .weights file and its cfg.

    python examples/ssd/convert_torchvision.py ssd300_vgg16_coco-b556d3b4.pth ssd300_coco.weights
    darknet-py detect ssd300_coco.cfg ssd300_coco.weights photo.jpg --plugin examples/ssd/ssd.py

SOURCE is a state dict of ``torchvision.models.detection.ssd300_vgg16``, with any number of classes.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

import darknet_py as dk
from darknet_py import cfg
from darknet_py.cfg.editing import replace_values
from darknet_py.files import atomic_write

HERE = pathlib.Path(__file__).parent
CFG = HERE / "ssd300-torchvision.cfg"
# The convolutions before the heads, in the order of the cfg.
CONVOLUTIONS = (
    *(f"backbone.features.{number}" for number in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)),
    *(f"backbone.extra.0.{name}" for name in ("1", "3", "5", "7.1", "7.3")),
    *(f"backbone.extra.{block}.{number}" for block in (1, 2, 3, 4) for number in (0, 2)),
)
SCALES = "backbone.scale_weight"
HEADS = ("head.regression_head.module_list", "head.classification_head.module_list")


def convert(state: Mapping[str, Tensor]) -> dk.Network:
    """Return the network of a state dict of torchvision's.

    Args:
        state: the tensors by name.

    Raises:
        KeyError: a tensor is missing.
        DarknetError: a tensor has another shape than in SSD300.
    """
    dk.load_plugin(HERE / "ssd.py")
    head = dk.Network(cfg.load(CFG)).heads[0]
    boxes = head.options.boxes  # type: ignore[attr-defined]
    classes = len(state[f"{HEADS[1]}.0.bias"]) // boxes[0] - 1
    network = dk.Network(cfg.loads(cfg_text(classes), CFG.name))
    joined = [
        [join([state[f"{name}.{number}.{kind}"] for name in HEADS], count) for kind in ("weight", "bias")]
        for number, count in enumerate(boxes)
    ]
    given = iter([[state[f"{name}.weight"], state[f"{name}.bias"]] for name in CONVOLUTIONS] + joined)
    with torch.no_grad():
        for layer in network:
            arrays = dict(layer.stored())
            sources = {"scales": state[SCALES]} if set(arrays) == {"scales"} else {}
            if "weights" in arrays:
                sources["weights"], sources["biases"] = next(given)
            for name, array in arrays.items():
                if array.shape != sources[name].shape:
                    found = f"{tuple(array.shape)}, found {tuple(sources[name].shape)}"
                    raise dk.DarknetError(f"[{layer.names[0]}] {name}: expected a shape of SSD300, {found}")
                array.copy_(sources[name])
    return network


def join(arrays: Sequence[Tensor], boxes: int) -> Tensor:
    """Return the filters [boxes * (4 + 1 + classes), ...] of one convolution for those of offsets and of scores."""
    return torch.cat([x.unflatten(0, (boxes, -1)) for x in arrays], dim=1).flatten(0, 1)


def cfg_text(classes: int) -> str:
    """Return the text of the cfg with another number of classes."""
    config = cfg.load(CFG)
    network = dk.Network(config)
    index = len(network.layers) - 1
    head = network.heads[0]
    edits: dict[int, Mapping[str, str]] = {index + 1: head.class_keys(classes)}
    for source, filters in zip(network.sources[index], head.inputs_for(classes), strict=True):
        edits[source + 1] = {"filters": str(filters)}
    return replace_values(config, edits)


def main() -> None:
    """Convert the file that the command line names."""
    parser = argparse.ArgumentParser(
        description="Convert weights of torchvision's SSD300 to a .weights file and a cfg."
    )
    parser.add_argument("source", metavar="SOURCE", help="state dict of torchvision's ssd300_vgg16")
    parser.add_argument("target", metavar="TARGET", help=".weights file to write; the cfg is written beside it")
    args = parser.parse_args()
    if pathlib.Path(args.target).suffix != ".weights" or args.target == args.source:
        parser.error(f"TARGET: expected another file than SOURCE, named *.weights, got {args.target}")
    state = torch.load(args.source, weights_only=True, map_location="cpu")
    try:
        network = convert(state)
    except KeyError as error:
        parser.error(f"{args.source}: expected a state dict of ssd300_vgg16, found no tensor {error}")
    dk.save_weights(network, args.target)
    path = pathlib.Path(args.target).with_suffix(".cfg")
    with atomic_write(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(network.config.text)
    print(f"{args.target}, {path}: {network.heads[0].classes} classes")


if __name__ == "__main__":
    main()
