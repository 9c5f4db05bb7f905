"""Draw contact sheets: the images of a data set with their boxes, sixteen to a page.

    darknet-py data view my.data --output sheets
    darknet-py data view my.data --subset valid --with-classes dog,cat --images 64
    darknet-py data view my.data --augment my.cfg --images 16

Writes sheet_1.jpg, sheet_2.jpg, ... with images that are chosen at random; the same seed gives the same sheets. With
--augment they are the first images that `darknet-py train` with this cfg and seed would train on."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from .. import _options
from . import _writing

if TYPE_CHECKING:
    from ..._typing import StrPath
    from ...images.contact_sheets import SheetImage

    # Images, how many of them to draw, class names, and the files of the data set.
    _Images = tuple[Iterator[SheetImage], int, Sequence[str], Iterable[StrPath]]


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
    parser.add_argument("--augment", metavar="CFG", help="draw training images, augmented by the keys of this cfg")
    parser.add_argument("--images", type=int, default=64, metavar="N", help="most images to draw (default: 64)")
    _options.add(parser, "--seed", default=0)


def run(args: argparse.Namespace) -> int:
    """Draw the sheets."""
    import io
    import itertools

    from ...errors import DataError
    from ...files import atomic_write, check_outputs, create_folder
    from ...images.contact_sheets import IMAGES, draw_sheet
    from .. import _output

    images, count, names, sources = _training_images(args) if args.augment else _stored_images(args)
    if count < 1:
        raise DataError(f"{args.data}: no images to draw")
    paths = [pathlib.Path(args.output) / f"sheet_{page + 1}.jpg" for page in range(-(-count // IMAGES))]
    check_outputs(paths, sources)
    create_folder(args.output)
    cells = itertools.islice(images, count)
    for path in _output.progress_bar(paths, len(paths), quiet=args.quiet, unit="sheet"):
        content = io.BytesIO()
        draw_sheet(itertools.islice(cells, IMAGES), dict(enumerate(names))).save(content, format="JPEG", quality=90)
        with atomic_write(path) as file:
            file.write(content.getvalue())
        print(path)
    return 0


def _stored_images(args: argparse.Namespace) -> _Images:
    """Return images of the data set, chosen at random, in their order."""
    import numpy as np

    from ...data.class_names import class_numbers
    from ...data.formats import load_dataset
    from ...data.subsets import merge_datasets
    from ...images.contact_sheets import SheetImage

    if args.subset:
        dataset = load_dataset(args.data, args.subset, polygons=args.polygons, progress=not args.quiet)
        _writing.print_problems(dataset.problems)
    else:
        dataset = merge_datasets(list(_writing.load(args).values()), args.data)
    wanted = class_numbers(args.with_classes, dataset.names) if args.with_classes else None
    numbers = [n for n, s in enumerate(dataset) if wanted is None or np.isin(s.targets[:, 4], wanted).any()]
    chosen = np.sort(np.random.default_rng(args.seed).permutation(numbers)[: max(0, args.images)]).astype(int)
    samples = (dataset[number] for number in chosen.tolist())
    images = (SheetImage(s.image, s.targets[:, :4], s.targets[:, 4]) for s in samples)
    return images, len(chosen), dataset.names, dataset.files()


def _training_images(args: argparse.Namespace) -> _Images:
    """Return the images that ``train`` with the cfg of ``--augment`` trains on first."""
    from ... import cfg
    from ...data.classification_list import read_classification_list
    from ...data.formats import load_dataset
    from ...hub.model_files import find_cfg
    from ...network import Network
    from ...training.batches import read_classifier_data
    from ...training.preview import training_images

    network = Network(cfg.load(find_cfg(args.augment)))
    if not network.heads:
        files, names = read_classifier_data(args.data, "train")
        return training_images(network, args.data, seed=args.seed), args.images, names, files
    dataset = load_dataset(args.data, args.subset or "train", polygons=args.polygons, progress=not args.quiet)
    _writing.print_problems(dataset.problems)
    classification = read_classification_list(args.data) if pathlib.Path(args.data).suffix == ".data" else None
    images = training_images(network, dataset, classification=classification, seed=args.seed)
    return images, args.images, dataset.names, dataset.files()
