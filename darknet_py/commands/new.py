"""Create a project from images and labels: cfg, data set, and the command that trains it.

    darknet-py new traffic photos/
    darknet-py new traffic export.json --model yolov4-tiny --imgsz 608 608

NAME is a new folder. It gets NAME.cfg: MODEL with the classes of DATA, anchors by k-means, and AlexeyAB's schedule,
with a comment at each value that was set; NAME.data, NAME.names and the images with label files, split into train and
valid unless DATA is split already; check.txt, the report of `check`; and input_size.png, which shows how many objects
are small in which size of the network's input. The commands that train and evaluate the network are printed last."""

from __future__ import annotations

import argparse
import pathlib
import shlex
import sys
from typing import TYPE_CHECKING

from . import _options, check
from ._data import _splitting, _writing, stats

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..data.project import ProjectCfg
    from ..data.statistics import DatasetStatistics, InputSize


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("folder", metavar="NAME", help="new folder of the project")
    _writing.add_data(parser)
    parser.add_argument(
        "--model",
        default="yolov4-tiny",
        metavar="MODEL",
        help=f"a cfg file with [yolo] or [region] heads, or {_options.NAME} (default: yolov4-tiny)",
    )
    _options.add(parser, "--imgsz/--size")
    _options.add(parser, "--plugin")
    _splitting.add_options(parser)
    _options.add(parser, "--link")


def run(args: argparse.Namespace) -> int:
    """Create the project."""
    from .. import cfg
    from ..data.project import create_project_cfg
    from ..data.statistics import compare_input_sizes, describe_input_sizes
    from ..data.writing import require_new_folder
    from ..hub.model_files import find_cfg
    from ..network import Network

    require_new_folder(args.folder)
    size = tuple(args.size) if args.size else None
    network = Network(cfg.load(find_cfg(args.model)), size=size)
    subsets = _writing.load(args)
    if "train" not in subsets or "valid" not in subsets:
        subsets = _split(args, subsets)
    train = subsets["train"]
    name = pathlib.Path(args.folder).absolute().name
    project = create_project_cfg(network, train, name, args.seed)
    statistics = stats.compute(args, train)
    width, height = network.shape.width, network.shape.height
    sizes = compare_input_sizes(statistics, width, height, project.stride)

    def add_files(folder: pathlib.Path) -> None:
        from ..files import atomic_write

        with atomic_write(folder / f"{name}.cfg", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(project.text)
        _plot(folder / "input_size.png", statistics, sizes, (width, height))

    _writing.write(args, subsets, args.folder, "darknet", stem=name, add_files=add_files)
    _print_network(args, name, project)
    print("\n".join(describe_input_sizes(statistics, sizes, width)))
    _write_report(args, name)
    print("\n".join(_next_commands(args, name)))
    return 0


def _split(args: argparse.Namespace, subsets: dict[str, Dataset]) -> dict[str, Dataset]:
    """The data set with a list for validation; one for a test is kept."""
    from ..data.subsets import merge_datasets

    known = merge_datasets([dataset for subset, dataset in subsets.items() if subset != "test"], args.data)
    fractions = {"train": 1 - args.valid_fraction, "valid": args.valid_fraction}
    return _splitting.split(args, known, fractions) | {s: subsets[s] for s in subsets if s == "test"}


def _plot(path: pathlib.Path, statistics: DatasetStatistics, sizes: list[InputSize], size: tuple[int, int]) -> None:
    from ..data.plots import plot_input_sizes
    from ..figures import write_png

    try:
        write_png(plot_input_sizes(sizes, size), path)
    except ImportError as error:
        print(f"darknet-py: {path.name} is not drawn: {error}", file=sys.stderr)


def _print_network(args: argparse.Namespace, name: str, project: ProjectCfg) -> None:
    path = pathlib.Path(args.folder) / f"{name}.cfg"
    print(f"{path}: avg IoU of the anchors {project.new_iou:.2%}, {project.old_iou:.2%} with those of {args.model}")
    print("\n".join(f"  {line}" for line in project.layout))


def _write_report(args: argparse.Namespace, name: str) -> None:
    """Check the project, and print and write the report."""
    from .. import cfg
    from ..data.subsets import write_lines
    from ..network import Network

    folder = pathlib.Path(args.folder)
    path = str(folder / f"{name}.cfg")
    lines = list(check.data_lines(str(folder / f"{name}.data"), Network(cfg.load(path)), path, quiet=args.quiet))
    write_lines(folder / "check.txt", lines)
    print("\n".join(lines))


def _next_commands(args: argparse.Namespace, name: str) -> list[str]:
    """The commands that train and evaluate the network, for the working directory of this one."""
    data, cfg, backup, evaluation, best = (
        shlex.quote(str(pathlib.Path(args.folder, *parts)))
        for parts in (
            (f"{name}.data",),
            (f"{name}.cfg",),
            ("backup",),
            ("evaluation",),
            ("backup", f"{name}_best.weights"),
        )
    )
    return [
        "next:",
        f"  darknet-py train {data} {cfg}{_pretrained(args.model)} --output {backup}",
        f"  darknet-py evaluate {cfg} {best} {data} --plots {evaluation}",
    ]


def _pretrained(model: str) -> str:
    """Arguments of weights to start from: those of the catalogue on this machine, or how to download them."""
    from ..hub import catalogue, model_files

    file = model_files.find_cfg(model).name
    entries = [entry for entry in catalogue.entries().values() if entry.cfg == file]
    local = next((path for entry in entries if (path := catalogue.path(entry))), None)
    if local is not None:
        return f" {shlex.quote(str(local))} --transfer"
    source = next((entry for entry in entries if entry.sources), None)
    return f' "$(darknet-py fetch {source.name})" --transfer' if source is not None else ""
