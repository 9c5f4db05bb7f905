"""Find objects in images and videos.

    darknet-py detect yolov4-tiny sample:bus --save
    darknet-py detect my.cfg my.weights photos/ --names my.names --json found.json
    darknet-py detect yolov4-tiny clip.mp4 --save --jsonl found.jsonl
    darknet-py detect yolov4-tiny rtsp://camera/stream --jsonl -

SOURCE is an image, a folder, a pattern, a list in a .txt file, an image of the catalogue, a video, the
number of a camera, or an address (rtsp, http, ...). Prints a row a box: what it is, how sure the network
is, and left, top, width, height in pixels. Ctrl-C ends a video well: what was written is whole."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .._typing import StrPath
from ..errors import DataError
from ..hub.model_files import Model, find
from ..images.sources import expand_sources
from . import _model, _output, _video

if TYPE_CHECKING:
    from ..network import Network

_TOGETHER = 8  # images: enough that a CPU's network and the work around it take turns
_WEIGHTS = (".weights", ".pt", ".safetensors")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("model", metavar="MODEL", help="a cfg, or a name of the catalogue")
    parser.add_argument(
        "sources", metavar="[WEIGHTS] SOURCE", nargs="+", help="what to look at; a cfg needs weights first"
    )
    boxes = parser.add_argument_group("boxes")
    boxes.add_argument("--names", help="file of class names, one a line")
    boxes.add_argument("--conf", type=float, default=0.25, metavar="P", help="lowest probability of a class (0.25)")
    boxes.add_argument("--iou", type=float, default=0.45, metavar="T", help="overlap that suppresses; 0: never (0.45)")
    boxes.add_argument("--hier", type=float, default=0.5, metavar="P", help="how sure a class of a tree must be (0.5)")
    boxes.add_argument(
        "--letterbox",
        action=argparse.BooleanOptionalAction,
        help="keep the images' aspect, or stretch; by default as the cfg says",
    )
    boxes.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help=f"images that are worked off together ({_TOGETHER} of several on a CPU, else 1)",
    )
    _model.add_engine(boxes)
    boxes.add_argument(
        "--tile",
        nargs="?",
        type=float,
        const=0.2,
        metavar="OVERLAP",
        help="look at large images in tiles of the network's size that overlap by this share (0.2)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--save", nargs="?", const="detected", metavar="DIR", help="write the images and videos with boxes to DIR"
    )
    output.add_argument(
        "--json", metavar="FILE", help="write what was found as JSON, - for stdout instead of the table"
    )
    output.add_argument("--out", metavar="FILE", help="write JSON in the format of Darknet's -out")
    output.add_argument(
        "--save-txt", nargs="?", const="detected", metavar="DIR", help="write Darknet label files to DIR (detected)"
    )
    output.add_argument("--jsonl", metavar="FILE", help="write a line of JSON a frame or image, - for stdout")
    output.add_argument("--quiet", action="store_true", help="no table and no progress")
    _video.options(parser)
    _model.options(parser)


def run(args: argparse.Namespace) -> int:
    """Detect and write."""
    from ..detector import Detector
    from ..tiling import TiledDetector

    model, images, videos = _split(args)
    if videos:
        _video.refuse(args)
    network = _model.load(args, model)
    several = len(images) > 1 and not videos and _model.device(args.device) == "cpu"
    detector = Detector(
        network,
        names=args.names or _fitting(model.names, network),
        threshold=args.conf,
        nms=args.iou,
        letterbox=args.letterbox,
        hierarchy=args.hier,
        batch=args.batch if args.batch is not None else (_TOGETHER if several else 1),
        engine=args.engine,
        dtype=args.dtype,
    )
    looking = detector if args.tile is None else TiledDetector(detector, overlap=args.tile)
    output = _output.Output(args.save, args.save_txt, args.json, args.out)
    silent = args.quiet or "-" in (args.json, args.jsonl)
    with _output.Lines(args.jsonl) as lines:
        for result in _output.progress(looking.stream(images), len(images), quiet=args.quiet):
            output.add(result)
            lines.add(result)
            if not silent:
                print(_output.rows(result), flush=True)
        if images:
            output.close()
        return _video.watch(looking, videos, lines, args, silent=silent)


def _split(args: argparse.Namespace) -> tuple[Model, list[str], list[str]]:
    """The model, the images and the videos; a cfg without --fetch has its weights first among the sources."""
    first, *others = args.sources
    is_weights = first.endswith(_WEIGHTS) or (args.model.endswith(".cfg") and not args.fetch)
    if is_weights and not others:
        raise DataError(f"{first}: taken for the weights of {args.model}; expected images behind it")
    model = find(args.model, first if is_weights else None, fetch=args.fetch, progress=not args.quiet)
    images, videos = _video.apart(others if is_weights else args.sources)
    return model, expand_sources(images), videos


def _fitting(names: StrPath | None, network: Network) -> StrPath | None:
    """The catalogue's class names for a cfg of this file name, where there are as many as classes."""
    from ..data.class_names import resolve_class_names

    try:
        resolve_class_names(names, network.heads[-1].classes if network.heads else 0)
    except DataError:
        return None
    return names
