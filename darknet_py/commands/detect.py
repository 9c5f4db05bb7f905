"""Detect objects in images and videos.

    darknet-py detect yolov4-tiny sample:bus --save
    darknet-py detect my.cfg my.weights photos/ --names my.names --json out.json
    darknet-py detect yolov4-tiny clip.mp4 --classes person car --save
    darknet-py detect yolov4-tiny clip.mp4 --track --line 0,0.5,1,0.5 --jsonl -
    darknet-py detect yolov4-tiny rtsp://camera/stream --jsonl -
    darknet-py detect yolov4-tiny.onnx photos/
    torchrun --nproc-per-node=2 -m darknet_py detect yolov4-tiny photos/ --json out.json

SOURCE is an image, - (an image from stdin), a folder, a glob pattern, a .txt list of images, an image of the catalogue,
a video, a camera number, or a URL (rtsp, http, ...). Prints one row per box: class, score, and left, top, width and
height in pixels. A file that cannot be read is reported on stderr, the others are processed, and the exit status is 1.
After Ctrl-C all files that were written so far are complete. Under torchrun the processes share the images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..devices import find_device
from ..errors import DataError
from ..hub.model_files import Model, find, is_cfg
from ..images.limits import MAX_PIXELS
from ..images.sources import expand_sources
from . import _detection, _options, _output, _records, _sharding, _tracking, _video

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..detector import Detector
    from ..distributed import ProcessGroup
    from ..results.results import Results
    from ..video.reader import ImageDetector

_CPU_BATCH = 8  # images per forward pass for several images on a CPU: reading and computing are interleaved
_WEIGHTS_SUFFIXES = (".weights", ".pt", ".safetensors")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_sources(parser)
    boxes = parser.add_argument_group("boxes")
    _detection.add_boxes(boxes, max_pixels=MAX_PIXELS)
    boxes.add_argument("--clip", action="store_true", help="clip boxes to the image")
    _options.add(boxes, "--batch", note=f"(default: {_CPU_BATCH} for several images on a CPU, else 1)")
    boxes.add_argument(
        "--tile",
        nargs="?",
        type=float,
        const=0.2,
        metavar="OVERLAP",
        help="split large images into tiles of the network's input size, overlapping by this fraction (default: 0.2)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--save",
        nargs="?",
        const="detected",
        metavar="DIR",
        help="write images and videos with boxes to a folder (default: detected)",
    )
    output.add_argument(
        "--save-txt",
        nargs="?",
        const="detected",
        metavar="DIR",
        help="write Darknet label files to a folder (default: detected)",
    )
    output.add_argument("--save-conf", action="store_true", help="append the score to each line of --save-txt")
    output.add_argument(
        "--save-crop", metavar="DIR", help="write the part of the image in each box to a folder per class in DIR"
    )
    output.add_argument(
        "--csv",
        metavar="FILE",
        help="write a row per box: path, class, name, score, x1, y1, x2, y2; for videos also index and timestamp "
        "of the frame, with --track the number of the track",
    )
    for names in ("--json", "--jsonl", "--darknet-json"):
        _options.add(output, names)
    _options.add(output, "--quiet", note="and no results")
    _video.add_options(parser)
    _tracking.add_options(parser)
    _options.add_network(parser)


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add MODEL, WEIGHTS and the sources."""
    parser.usage = "%(prog)s [options] MODEL [WEIGHTS] SOURCE [SOURCE ...]"
    parser.add_argument(
        "model", metavar="MODEL", help=f"a cfg file, a checkpoint, an exported file, or {_options.NAME}"
    )
    parser.add_argument(
        "sources", metavar="[WEIGHTS] SOURCE", nargs="+", help="images and videos; for a cfg, its weights first"
    )


def run(args: argparse.Namespace) -> int:
    """Detect objects and write the results."""
    with _sharding.joined(args) as group:
        return _detect(args, group)


def _detect(args: argparse.Namespace, group: ProcessGroup) -> int:
    model, images, videos = group.compute_main_first(lambda: _check_sources(args, group))
    images = group.compute_once(lambda: images)
    is_tracked = _tracking.is_on(args)
    is_batched = len(images) > 1 and not videos and find_device(args.device).type == "cpu"
    plain = group.compute_main_first(lambda: _create_detector(args, model, batch=_CPU_BATCH if is_batched else 1))
    detector = _with_tiles(args, plain)
    writer = group.compute_main_first(lambda: _create_writer(args, images))
    is_silent = args.quiet or "-" in (args.json, args.jsonl, args.darknet_json, args.csv)
    errors = _output.ErrorLog()
    results: Iterable[Results]
    if group.world_size == 1:
        results = detector.stream(images, on_error=errors.add)
        results = _output.progress_bar(results, len(images), quiet=args.quiet)
    else:
        results = _compute_shard(args, group, plain, images, writer, errors)
        if not group.is_main:
            return 0
    with (
        writer,
        _records.JsonLines(args.jsonl) as lines,
        _records.CsvRows(args.csv, frames=bool(videos), tracks=is_tracked) as rows,
    ):
        tracking = _tracking.Tracking(args) if is_tracked and images else None
        for result in results:
            result = tracking.update(result) if tracking else result
            result = result.clip() if args.clip else result
            counts = tracking.counts() if tracking else {}
            if group.world_size == 1:
                writer.save(result, draw=tracking.draw if tracking else None)
            writer.add(result, **counts)
            rows.write(result)
            lines.write(result.to_dict(**counts))
            if not is_silent:
                print(_output.format_result(result), flush=True)
        if tracking and not is_silent:
            tracking.print_counts()
        is_stopped = _video.detect(detector, videos, lines, rows, args, errors, is_silent=is_silent)
    return 130 if is_stopped else errors.status("file" if videos else "image")


def _check_sources(args: argparse.Namespace, group: ProcessGroup) -> tuple[Model, list[str], list[str]]:
    """Return what ``split_sources`` does. Raises DataError for options that do not fit the sources."""
    from ..data.labels import images_and_labels

    model, images, videos = split_sources(args)
    if videos:
        _video.check_options(args)
    is_tracked = _tracking.check_options(args, images)
    if group.world_size > 1:
        sequence = f"{videos[0]} is a video" if videos else "--track needs the images in their order"
        if videos or is_tracked:
            raise DataError(f"{sequence}: expected one process, found {group.world_size}, which share images only")
    _output.check(args, images_and_labels([*images, *videos]))
    return model, images, videos


def _create_detector(args: argparse.Namespace, model: Model, *, batch: int) -> Detector:
    """Load the network, and create the detector that the options describe."""
    return _detection.create_detector(
        args,
        model,
        threshold=_tracking.detector_threshold(args),
        batch=batch if args.batch is None else args.batch,
    )


def _with_tiles(args: argparse.Namespace, detector: Detector) -> ImageDetector:
    from ..tiling import TiledDetector

    return detector if args.tile is None else TiledDetector(detector, overlap=args.tile)


def _create_writer(args: argparse.Namespace, images: list[str]) -> _output.ResultWriter:
    return _output.ResultWriter(
        args.save,
        args.save_txt,
        args.json,
        args.darknet_json,
        images,
        confidence=args.save_conf,
        crops=args.save_crop,
    )


def _compute_shard(
    args: argparse.Namespace,
    group: ProcessGroup,
    detector: Detector,
    images: list[str],
    writer: _output.ResultWriter,
    errors: _output.ErrorLog,
) -> Iterable[Results]:
    """Detect in several processes, each of which writes the files of its own images.

    Returns:
        In the main process, the results of all images; elsewhere nothing.
    """

    def convert(result: Results) -> _sharding.PackedResults:
        result = result.clip() if args.clip else result
        writer.save(result)
        return _sharding.pack(result)

    tiled = _with_tiles(args, detector)
    packed = _sharding.compute(
        group,
        images,
        tiled.stream,
        convert,
        batch=detector.batch_size if tiled is detector else 1,
        is_sequence=detector.architecture.stateful,
        quiet=args.quiet,
    )
    return (one.unpack(detector.names) for one in _sharding.report_errors(packed, errors))


def split_sources(args: argparse.Namespace) -> tuple[Model, list[str], list[str]]:
    """Return the model, the images and the videos; for a cfg without --fetch the first source is its weights."""
    model, sources = find_model(args)
    if not sources:
        raise DataError(f"{args.sources[0]}: read as the weights of {args.model}: expected a SOURCE after it")
    images, videos = _video.split_videos(sources)
    return model, expand_sources(images), videos


def find_model(args: argparse.Namespace) -> tuple[Model, list[str]]:
    """Return the model and the sources; for a cfg without --fetch the first source is its weights."""
    sources = list(args.sources)
    is_weights = bool(sources) and (sources[0].endswith(_WEIGHTS_SUFFIXES) or (is_cfg(args.model) and not args.fetch))
    weights = sources.pop(0) if is_weights else None
    return find(args.model, weights, fetch=args.fetch, progress=not args.quiet), sources
