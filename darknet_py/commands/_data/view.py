"""Draw contact sheets: the images of a data set with their boxes, sixteen to a page.

    darknet-py data view my.data --output sheets
    darknet-py data view my.data --subset valid --classes dog,cat --images 64

Writes sheet_1.jpg, sheet_2.jpg, ... with images that are chosen at random; the same seed gives the same sheets."""

from __future__ import annotations

import argparse
import pathlib

from .. import _options
from . import _writing


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _writing.add_data(parser)
    _options.add(parser, "-o/--output", default="sheets", metavar="DIR", note="a folder (default: sheets)")
    _options.add(parser, "--subset", note="(default: all)")
    parser.add_argument(
        "--with-classes",
        nargs="+",
        action=_options.SplitCommas,
        metavar="CLASS",
        help="only images that have objects of these classes, by name or number",
    )
    parser.add_argument("--images", type=int, default=64, metavar="N", help="most images to draw (default: 64)")
    _options.add(parser, "--seed", default=0)


def run(args: argparse.Namespace) -> int:
    """Draw the sheets."""
    import io

    import numpy as np

    from ...data.class_names import class_numbers
    from ...data.formats import load_dataset
    from ...data.subsets import merge_datasets
    from ...errors import DataError
    from ...files import atomic_write, check_outputs, create_folder
    from ...images.contact_sheets import IMAGES, SheetImage, draw_sheet
    from .. import _output

    if args.subset:
        dataset = load_dataset(args.data, args.subset, polygons=args.polygons, progress=not args.quiet)
        _writing.print_problems(dataset.problems)
    else:
        dataset = merge_datasets(list(_writing.load(args).values()), args.data)
    wanted = class_numbers(args.with_classes, dataset.names) if args.with_classes else None
    numbers = [n for n, s in enumerate(dataset) if wanted is None or np.isin(s.targets[:, 4], wanted).any()]
    if not numbers or args.images < 1:
        raise DataError(f"{args.data}: no images to draw")
    chosen = np.sort(np.random.default_rng(args.seed).permutation(numbers)[: args.images])
    pages = [chosen[start : start + IMAGES] for start in range(0, len(chosen), IMAGES)]
    paths = [pathlib.Path(args.output) / f"sheet_{page}.jpg" for page in range(1, len(pages) + 1)]
    check_outputs(paths, dataset.files())
    create_folder(args.output)
    names = dict(enumerate(dataset.names))
    drawn = _output.progress_bar(zip(paths, pages, strict=True), len(pages), quiet=args.quiet, unit="sheet")
    for path, page in drawn:
        samples = [dataset[int(number)] for number in page]
        content = io.BytesIO()
        draw_sheet([SheetImage(s.image, s.targets[:, :4], s.targets[:, 4]) for s in samples], names).save(
            content, format="JPEG", quality=90
        )
        with atomic_write(path) as file:
            file.write(content.getvalue())
        print(path)
    return 0
