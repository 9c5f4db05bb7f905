"""Show where the heads of a detector see objects, and what raises a class's score (Grad-CAM).

    darknet-py explain yolov4-tiny sample:bus
    darknet-py explain my.cfg my.weights photo.jpg --class dog -o dog.png

Writes a sheet with a row for each head: the confidence of its cells, and the Grad-CAM of the class over the image."""

from __future__ import annotations

import argparse

from ..images.limits import MAX_PIXELS
from . import _model, _options, _output, detect


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = "%(prog)s [options] MODEL [WEIGHTS] IMAGE"
    parser.add_argument(
        "model", metavar="MODEL", help=f"a cfg file, a .pt or .safetensors checkpoint, or {_options.NAME}"
    )
    parser.add_argument("sources", metavar="[WEIGHTS] IMAGE", nargs="+", help="an image; for a cfg, its weights first")
    parser.add_argument(
        "--class",
        dest="cls",
        metavar="CLASS",
        help="name or number (default: in each head the one with the highest score)",
    )
    _options.add(
        parser, "-o/--output", metavar="FILE", default="explained.png", note="the sheet: .png, .jpg, .pdf or .svg"
    )
    for names in ("--names", "--letterbox", "--exif"):
        _options.add(parser, names)
    _options.add(parser, "--max-pixels", default=MAX_PIXELS)
    _options.add_network(parser)
    parser.set_defaults(quiet=False)


def run(args: argparse.Namespace) -> int:
    """Explain one image."""
    from ..data.class_names import resolve_class_names
    from ..errors import DataError
    from ..explanation import draw_explanation, explain
    from ..images.reading import read_image

    model, images, videos = detect.split_sources(args)
    if len(images) != 1 or videos:
        raise DataError(f"{args.sources[-1]}: expected one image, found {len(images)} images and {len(videos)} videos")
    _output.check(args, images)
    network = _model.load_network(args, model)
    names = args.names or _model.matching_names(model.names, network)
    resolved = resolve_class_names(names or network.names or None, network.heads[-1].classes if network.heads else 0)
    image = read_image(images[0], network.shape.channels, exif=bool(args.exif), max_pixels=args.max_pixels)
    explained = explain(network, image, cls=args.cls, names=resolved, letterbox=args.letterbox)
    draw_explanation(image, explained, args.output, names=resolved)
    for head in explained:
        print(f"layer {head.layer}: {resolved[head.cls]} {head.score:.1%}")
    print(f"{args.output}: written")
    return 0
