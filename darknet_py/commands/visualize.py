"""Draw the filters of a network, or its feature maps for an image.

    darknet-py visualize yolov4-tiny
    darknet-py visualize yolov4-tiny sample:bus --layer 0,16,24
    darknet-py visualize my.cfg my.weights photo.jpg -o maps.png

Without an image the sheet has the filters of the first convolution. With an image there is a sheet for the last layer
of each resolution, with the channels of the highest mean activation. Of several sheets each has the number of its layer
in its name: maps_16.png."""

from __future__ import annotations

import argparse
import pathlib
from typing import TYPE_CHECKING

from ..images.limits import MAX_PIXELS
from . import _model, _options, detect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..images.reading import ImageArray

OUTPUT = "visualized.png"
_FORMATS = (".png", ".jpg", ".jpeg")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = "%(prog)s [options] MODEL [WEIGHTS] [IMAGE]"
    parser.add_argument(
        "model", metavar="MODEL", help=f"a cfg file, a .pt or .safetensors checkpoint, or {_options.NAME}"
    )
    parser.add_argument("sources", metavar="[WEIGHTS] [IMAGE]", nargs="*", help="for a cfg, its weights first")
    _options.add(parser, "-o/--output", metavar="FILE", default=OUTPUT, note=f".png or .jpg (default: {OUTPUT})")
    parser.add_argument("--layer", metavar="N,N", help="numbers of layers, or all; see darknet-py info")
    parser.add_argument(
        "--filters", action="store_true", help="with an image: also the filters of these layers, FILE_filters.png"
    )
    parser.add_argument(
        "--max-channels",
        type=int,
        default=64,
        metavar="N",
        help="most channels or filters of a sheet (default: 64)",
    )
    parser.add_argument(
        "--order",
        choices=("activation", "index"),
        default="activation",
        help="of the channels: highest mean activation first, or by number (default: activation)",
    )
    for names in ("--letterbox", "--exif"):
        _options.add(parser, names)
    _options.add(parser, "--max-pixels", default=MAX_PIXELS)
    _options.add_network(parser)
    parser.set_defaults(quiet=False)


def run(args: argparse.Namespace) -> int:
    """Draw the sheets."""
    from ..errors import DataError
    from ..figures import figure_format
    from ..files import check_outputs
    from ..images.reading import read_image
    from ..images.sources import expand_sources
    from ..visualization import convolutions, visualize

    figure_format(args.output, _FORMATS, "an image")
    model, sources = detect.find_model(args)
    images = expand_sources(sources)
    if len(images) > 1:
        raise DataError(f"{images[0]}: expected one image, found {len(images)}")
    network = _model.load_network(args, model)
    layers, every = _parse_layers(args.layer), range(len(network.layers))
    sheets: dict[str, ImageArray] = {}
    if images:
        image = read_image(images[0], network.shape.channels, exif=bool(args.exif), max_pixels=args.max_pixels)
        numbers = every if args.layer == "all" else layers
        maps = visualize(
            network, image, numbers, max_channels=args.max_channels, order=args.order, letterbox=args.letterbox
        )
        sheets |= _name_sheets(args.output, maps)
    if args.filters or not images:
        known = convolutions(network)
        chosen = known if args.layer == "all" else layers
        if images and layers:
            chosen = [number for number in layers if number % len(every) in known] or None
        filters = visualize(network, layers=chosen, max_channels=args.max_channels)
        sheets |= _name_sheets(args.output, filters, "_filters" if images else "")
    check_outputs(list(sheets), [model.cfg, model.weights, *images])
    write_sheets(sheets)
    return 0


def _parse_layers(text: str | None) -> list[int] | None:
    """The numbers of ``--layer``; None if it is left out, or all."""
    from ..errors import DataError

    if text is None or text == "all":
        return None
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise DataError(f"--layer: expected numbers such as 0,16,24, or all, got {text!r}") from None


def _name_sheets(output: str, sheets: Mapping[int, ImageArray], ending: str = "") -> dict[str, ImageArray]:
    """Sheets by the names of their files: with the number of the layer if there are several."""
    path = pathlib.Path(output)
    stems = {number: f"{path.stem}_{number}" if len(sheets) > 1 else path.stem for number in sheets}
    return {str(path.with_name(f"{stems[number]}{ending}{path.suffix}")): sheet for number, sheet in sheets.items()}


def write_sheets(sheets: Mapping[str, ImageArray]) -> None:
    """Write images, and print their names."""
    from PIL import Image

    from ..files import atomic_write

    for name, sheet in sheets.items():
        with atomic_write(name) as file:
            Image.fromarray(sheet).save(file, "png" if name.lower().endswith(".png") else "jpeg")
        print(f"{name}: written")
