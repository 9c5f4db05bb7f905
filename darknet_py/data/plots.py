"""Plots of a data set: classes, sizes, positions, and the input size that the objects need. matplotlib draws them."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._typing import StrPath
from ..figures import BOLD, GREY, INK, create_figure, plain_text, style_axes, write_png
from ..files import check_outputs, create_folder
from .anchors import BoxSizes
from .dataset import Dataset
from .statistics import SMALL, DatasetStatistics, InputSize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_DOTS = 5000  # objects that are drawn
_MAX_NAMED = 40  # with more classes, bars have no names
_BINS = 40  # of the image in each direction
_ANCHOR = "#d1242f"


def write_plots(
    statistics: DatasetStatistics,
    folder: StrPath,
    dataset: Dataset,
    sizes: Sequence[InputSize],
    size: tuple[int, int],
    anchors: BoxSizes | None = None,
) -> list[pathlib.Path]:
    """Write all plots as PNG into a folder, which is created if absent, and return the files.

    Args:
        statistics: what is plotted.
        folder: the folder.
        dataset: the data set, whose files are not replaced.
        sizes: the input sizes to compare.
        size: width and height of the network's input in pixels.
        anchors: anchors of the network, float64 [n, 2] in pixels.

    Raises:
        ImportError: matplotlib is not installed.
        DataError: a file cannot be written.
    """
    target = pathlib.Path(folder)
    figures = {
        "classes.png": plot_classes(statistics),
        "sizes.png": plot_sizes(statistics, size, anchors),
        "positions.png": plot_positions(statistics),
        "input_size.png": plot_input_sizes(sizes, size),
    }
    check_outputs([target / name for name in figures], dataset.files())
    create_folder(target)
    for name, figure in figures.items():
        write_png(figure, target / name)
    return [target / name for name in figures]


def plot_classes(statistics: DatasetStatistics) -> Figure:
    """Plot the number of objects of each class, the most frequent first."""
    total = sum(statistics.objects)
    text = f"{total} objects of {len(statistics.names)} classes in {statistics.images} images"
    figure, axes = create_figure("Objects per class", f"{text}, {statistics.empty} of them without objects")
    order = np.argsort(np.negative(statistics.objects), kind="stable")
    counts = np.array(statistics.objects, np.int64)[order]
    axes.bar(range(len(counts)), counts, color=BOLD, width=0.8)
    style_axes(axes, "class", "objects")
    if len(counts) <= _MAX_NAMED:
        names = [plain_text(statistics.names[number]) for number in order]
        axes.set_xticks(range(len(counts)), names, rotation=90 if len(counts) > 8 else 0, fontsize=9, color=INK)
        axes.set_xlabel("")
        for place, count in enumerate(counts.tolist()):
            axes.annotate(str(count), (place, count), ha="center", va="bottom", fontsize=8, color=GREY)
    return figure


def plot_sizes(statistics: DatasetStatistics, size: tuple[int, int], anchors: BoxSizes | None = None) -> Figure:
    """Plot width and height of the objects in the network's input, and the anchors over them."""
    width, height = size
    text = f"in an input of {width} x {height}, {len(statistics.boxes)} objects"
    figure, axes = create_figure("Sizes of objects", text)
    shown = statistics.boxes[:: max(1, -(-len(statistics.boxes) // _MAX_DOTS)), 2:] * (width, height)
    axes.scatter(shown[:, 0], shown[:, 1], s=9, color=BOLD, alpha=0.35, linewidths=0, label="objects")
    if anchors is not None:
        axes.scatter(
            anchors[:, 0], anchors[:, 1], s=70, color=_ANCHOR, marker="x", linewidths=2, label="anchors", zorder=4
        )
    axes.plot([0, SMALL, SMALL], [SMALL, SMALL, 0], color=GREY, linewidth=1, label=f"{SMALL} x {SMALL} pixels")
    style_axes(axes, "width, pixels", "height, pixels")
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.legend(edgecolor="none", fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1.02))
    return figure


def plot_positions(statistics: DatasetStatistics) -> Figure:
    """Plot how many objects have their centre in each part of the image."""
    text = "number of centres in each part of the image, of all images on one another"
    figure, axes = create_figure("Positions of objects", text)
    x, y = statistics.boxes[:, :2].T
    counts, *_ = np.histogram2d(y, x, bins=_BINS, range=((0, 1), (0, 1)))
    image = axes.imshow(counts, cmap="Blues", extent=(0, 1, 1, 0), aspect="equal")
    style_axes(axes, "x of the centre / width of the image", "y of the centre / height of the image")
    axes.grid(visible=False)
    bar = figure.colorbar(image, shrink=0.8, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    return figure


def plot_input_sizes(sizes: Sequence[InputSize], size: tuple[int, int]) -> Figure:
    """Plot the fraction of objects below 16 x 16 pixels over the width of the network's input."""
    figure, axes = create_figure(
        f"Objects below {SMALL} x {SMALL} pixels",
        "fraction of the objects after resizing to the network's input",
    )
    axes.plot([one.width for one in sizes], [100 * one.small for one in sizes], color=BOLD, marker="o", markersize=4)
    style_axes(axes, "width of the input, pixels", "small objects, %")
    axes.set_ylim(0, max(5.0, *(115 * one.small for one in sizes)))
    axes.margins(x=0.12)
    for one in sizes:
        is_present = one.width == size[0]
        if is_present or one in (sizes[0], sizes[-1]):
            text = f"{one.width} x {one.height}: {one.small:.1%}\n{one.cost:.2g} x the operations"
            ink = {"color": INK if is_present else GREY, "weight": "bold" if is_present else "normal"}
            place = {"textcoords": "offset points", "xytext": (5, 5), "ha": "left", "fontsize": 8}
            axes.annotate(text, (one.width, 100 * one.small), **place, **ink)  # type: ignore[arg-type]
    return figure
