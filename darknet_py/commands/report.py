"""Write a report on a model as one HTML page.

    darknet-py report yolov4-tiny -o yolov4-tiny.html
    darknet-py report my.cfg my.weights my.data -o my.html
    darknet-py report my.cfg my.weights --example a.jpg --example b.jpg

The page shows the files with their SHA-256, every byte of the weights by layer, NaN and Inf, keys of the cfg that
nothing reads, a diagram, the difference of each layer from C Darknet where its library is installed, boxes, differences
and milliseconds in each installed runtime, example images, and with DATA the mAP by three protocols with curves. It
needs no other file and no network. The exit status is 1 if there are problems."""

from __future__ import annotations

import argparse
import sys
import warnings

from . import _model, _options, _output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = "%(prog)s [options] MODEL [WEIGHTS] [DATA]"
    parser.add_argument("model", metavar="MODEL", help=f"a cfg file, or {_options.NAME}")
    parser.add_argument(
        "files", metavar="[WEIGHTS] [DATA]", nargs="*", help="the weights of a cfg; a data set to evaluate on"
    )
    parser.add_argument(
        "--example",
        action="append",
        default=[],
        metavar="FILE",
        help="an image that is shown with its boxes (default: the first of DATA); can be repeated",
    )
    _options.add(parser, "-o/--output", metavar="FILE", default="report.html", note="the page (default: report.html)")
    _options.add(parser, "--subset", default="valid")
    for names in ("--names", "--map-classes", "--polygons"):
        _options.add(parser, names)
    _options.add(parser, "--conf", default=0.25)
    _options.add(parser, "--repeats", default=10)
    _options.add(parser, "--threads")
    _options.add(parser, "--quiet")
    _options.add_network(parser, without=("--device",))
    parser.set_defaults(device="cpu")


def run(args: argparse.Namespace) -> int:
    """Measure, and write the page."""
    import torch

    from ..errors import DataError, UnusedOptionWarning
    from ..evaluation.evaluator import prepare_dataset
    from ..files import atomic_write
    from ..hub.model_files import find, is_cfg
    from ..images.sources import expand_sources
    from ..model_report.facts import collect
    from ..model_report.page import to_html

    if args.repeats < 1:
        raise DataError(f"--repeats: expected 1 or more, got {args.repeats}")
    if args.threads:
        torch.set_num_threads(args.threads)
    takes_weights = is_cfg(args.model) and not args.fetch
    args.weights = args.files[0] if args.files and (takes_weights or args.files[0].endswith(".weights")) else None
    data = args.files[1 if args.weights else 0 :]
    if len(data) > 1:
        raise DataError(f"expected MODEL, WEIGHTS and DATA, got {' '.join((args.model, *args.files))}")
    model = find(args.model, args.weights, fetch=args.fetch, progress=not args.quiet)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = _model.load_network(args, model)
    unread = [str(warning.message) for warning in caught if issubclass(warning.category, UnusedOptionWarning)]
    images = expand_sources(args.example)
    names = args.names or _model.matching_names(model.names, network)
    dataset = None
    if data:
        dataset = prepare_dataset(
            network, data[0], args.subset, polygons=args.polygons, map_classes=args.map_classes or ""
        )
    _output.check(args, [*images, *(dataset.files() if dataset is not None else ())])
    _output.require_writable([args.output])

    def say(text: str) -> None:
        if not args.quiet:
            print(f"{text} ...", file=sys.stderr, flush=True)

    report = collect(
        network,
        model,
        data=dataset,
        images=images,
        names=names,
        unread=unread,
        threshold=args.conf,
        repeats=args.repeats,
        progress=say,
    )
    with atomic_write(args.output, "w", encoding="utf-8") as file:
        file.write(to_html(report))
    for problem in report.problems:
        print(f"wrong  {problem}")
    _output.print_last(f"{args.output}: written")
    return 1 if report.problems else 0
