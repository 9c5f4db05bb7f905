"""Show a network: layers, shapes, BFLOPS and parameters.

    darknet-py info yolov4-tiny
    darknet-py info my.cfg --imgsz 608 608 --diagram my.svg

Prints the table that Darknet prints when it builds a network, and the memory of weights and activations. With
WEIGHTS, which are optional, also the number of images that they were trained on."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from . import _model, _options, _output

if TYPE_CHECKING:
    from ..network import Network


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _options.add_model(parser, without=("--device", "--fetch", "--allow-non-finite"))
    parser.add_argument(
        "--receptive-field", action="store_true", help="add a column: the pixels that one cell of the output depends on"
    )
    parser.add_argument(
        "--diagram", metavar="FILE", help="draw the stages of the network and what they read: .svg, .png or .pdf"
    )
    parser.add_argument("--stored", action="store_true", help="list the arrays of the .weights file instead")


def run(args: argparse.Namespace) -> int:
    """Print the table, and draw the diagram."""
    from .. import weights
    from ..diagram.drawing import draw_diagram

    _output.check(args)
    network = _model.build_network(args, _find_cfg(args.model), strict=args.strict)
    if args.weights:
        weights.load(network, args.weights)
    if args.diagram:
        draw_diagram(network, args.diagram)
    if args.stored:
        offset = 0  # in floats after the header
        for array in weights.stored(network, writing=True):
            shape = " x ".join(map(str, array.tensor.shape))
            print(f"{offset:>12} {array.tensor.numel():>10}  {array.label}  [{shape}]")
            offset += array.tensor.numel()
        return 0
    print(network.table(receptive_field=args.receptive_field))
    print(_describe_memory(network))
    if args.weights:
        print(f"seen {network.seen:,} images, version {'.'.join(map(str, network.version))}")
    return 0


def _describe_memory(network: Network) -> str:
    """The memory of the weights, and of the outputs that are alive at once."""
    from .._memory_plan import activation_memory, parameter_memory

    weights = sum(map(parameter_memory, network))
    peak = activation_memory(list(network), network.sources, network.shape, network.outputs)
    return f"memory in float32: weights {weights / 1e6:.1f} MB, activations of an image at most {peak / 1e6:.1f} MB"


def _find_cfg(model: str) -> str:
    """The cfg of MODEL, without downloading its weights."""
    import pathlib

    from ..hub import catalogue, huggingface, model_files

    if huggingface.is_address(model):
        return str(model_files.find_cfg(model))
    return model if pathlib.Path(model).exists() or model.endswith(".cfg") else str(catalogue.cfg_path(model))
