"""Plots of an evaluation: precision-recall and F1 curves, confusion matrix, contact sheets.

matplotlib draws them without a display; the contact sheets only need Pillow.
"""

from __future__ import annotations

import io
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .._typing import StrPath
from ..figures import (
    BOLD,
    GREY,
    INK,
    LIGHT,
    create_figure,
    draw_title,
    import_figure_class,
    plain_text,
    style_axes,
    to_png,
)
from ..files import atomic_write, check_outputs, create_folder
from . import contact_sheets
from .average_precision import PrecisionRecallCurve, compute_overall_curve
from .confusion import compute_confusion_matrix
from .scores import Evaluation, Protocol

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_NAMED = 10  # with more classes, curves are grey and have no name


def write(evaluation: Evaluation, folder: StrPath) -> list[pathlib.Path]:
    """Write all plots of an evaluation into a folder, which is created if absent, and return the files.

    Raises ImportError without matplotlib, and DataError if a file cannot be written.
    """
    import_figure_class()
    target = pathlib.Path(folder)
    plots: dict[str, Callable[[Evaluation], Any]] = {
        "pr_curve.png": plot_precision_recall,
        "f1_curve.png": plot_f1,
        "confusion_matrix.png": plot_confusion_matrix,
        "labels.jpg": contact_sheets.draw_targets,
        "predictions.jpg": contact_sheets.draw_detections,
    }
    check_outputs([target / name for name in plots], evaluation.data.dataset.files())
    create_folder(target)
    for name, plot in plots.items():
        image = plot(evaluation)
        content = _to_jpeg(image) if isinstance(image, Image.Image) else to_png(image)
        with atomic_write(target / name) as file:
            file.write(content)
    return [target / name for name in plots]


def _to_jpeg(sheet: Image.Image) -> bytes:
    content = io.BytesIO()
    sheet.save(content, format="JPEG", quality=90)
    return content.getvalue()


def plot_precision_recall(evaluation: Evaluation) -> Figure:
    """Plot the monotone precision over recall of each class, and their mean.

    Up to ten classes have a colour and a name with their AP in percent.
    """
    figure, axes = create_figure("Precision over recall", _format_headline(evaluation))
    grid = np.linspace(0, 1, 501)
    curves = _curves_with_targets(evaluation)
    lines = []
    labels = [
        f"{score.name} {100 * max(0.0, score.average_precision):.1f}" for score in evaluation.classes if score.targets
    ]
    for curve, label in zip(curves, labels, strict=True):
        best = np.append(np.maximum.accumulate(curve.precision[::-1])[::-1], 0.0)
        lines.append(best[np.searchsorted(curve.recall, grid, side="left")])
        _plot_class_curve(axes, grid, lines[-1], label, len(curves))
    if lines:
        mean = np.mean(lines, axis=0)
        axes.plot(grid, mean, color=BOLD, linewidth=2.6, label=f"mean of {len(lines)} classes", zorder=5)
        axes.fill_between(grid, mean, color=BOLD, alpha=0.07, linewidth=0)
    _format_axes(axes, "recall", "precision", len(curves))
    return figure


def plot_f1(evaluation: Evaluation) -> Figure:
    """Plot F1 over the score threshold, of each class and of all together, and mark the best threshold.

    Up to ten classes have a colour and a name with their best F1.
    """
    figure, axes = create_figure("F1 over score threshold", _format_headline(evaluation))
    grid = np.linspace(0, 1, 501)
    curves = _curves_with_targets(evaluation)
    labels = [f"{score.name} {score.best_f1:.3f}" for score in evaluation.classes if score.targets]
    for curve, label in zip(curves, labels, strict=True):
        _plot_class_curve(axes, grid, _f1_at(curve, grid), label, len(curves))
    data = evaluation.data
    best = evaluation.all
    overall = compute_overall_curve(data.detections, data.matches, best.targets)
    axes.plot(grid, _f1_at(overall, grid), color=BOLD, linewidth=2.6, label="all classes", zorder=5)
    text = f"best: F1 {best.best_f1:.3f} at {best.best_threshold:.3f}"
    axes.plot([best.best_threshold], [best.best_f1], "o", color=BOLD, markersize=7, zorder=6, label=text)
    _format_axes(axes, "score threshold", "F1", len(curves))
    return figure


def _f1_at(curve: PrecisionRecallCurve, grid: Any) -> Any:
    """F1 of the detections whose confidence is at least each of ``grid``."""
    kept = np.searchsorted(-curve.confidence, -grid, side="right")
    return np.append(0.0, curve.f1)[kept]


def plot_confusion_matrix(evaluation: Evaluation) -> Figure:
    """Plot the confusion matrix of the classes that occur, coloured by the fraction of each true class (column)."""
    data = evaluation.data
    names = data.dataset.names
    counts = compute_confusion_matrix(
        data.detections, data.targets, len(names), evaluation.threshold, evaluation.match_iou
    )
    used = [cls for cls in range(len(names)) if counts[cls].any() or counts[:, cls].any()]
    kept = counts[np.ix_([*used, len(names)], [*used, len(names)])]
    ticks = [*(plain_text(names[cls]) for cls in used), "background"]
    side = min(24.0, max(5.5, 2.2 + 0.21 * len(ticks)))
    figure = import_figure_class()(figsize=(side + 1, side + 0.6), dpi=130, layout="compressed", facecolor="white")
    axes = figure.add_subplot()
    total = kept.sum(axis=0, keepdims=True)
    fraction = np.where(kept > 0, kept / np.maximum(total, 1), np.nan)
    image = axes.imshow(fraction, cmap="Blues", vmin=0, vmax=1)
    size = 9 if len(ticks) <= 20 else 7
    axes.set_xticks(range(len(ticks)), ticks, rotation=90 if len(ticks) > 8 else 0, fontsize=size, color=INK)
    axes.set_yticks(range(len(ticks)), ticks, fontsize=size, color=INK)
    for row, column in zip(*kept.nonzero(), strict=True):
        ink = "white" if fraction[row, column] > 0.55 else INK
        axes.text(column, row, str(kept[row, column]), ha="center", va="center", fontsize=size - 1, color=ink)
    axes.set_xticks(np.arange(len(ticks)) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(ticks)) - 0.5, minor=True)
    axes.grid(which="minor", color=LIGHT, linewidth=0.4)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_color(LIGHT)
    axes.set_xlabel("true", color=INK, fontsize=11)
    axes.set_ylabel("predicted", color=INK, fontsize=11)
    text = f"score above {evaluation.threshold:g}, IoU above {evaluation.match_iou:g}"
    draw_title(axes, "Confusion matrix", f"number of boxes; colour: fraction of the true class; {text}")
    bar = figure.colorbar(image, shrink=0.6, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    return figure


def _curves_with_targets(evaluation: Evaluation) -> list[PrecisionRecallCurve]:
    return [curve for curve in evaluation.data.curves if curve.targets]


def _format_headline(evaluation: Evaluation) -> str:
    name = "mAP@0.50:0.95" if evaluation.protocol is Protocol.COCO else f"mAP@{evaluation.match_iou:.2f}"
    return f"{name} {100 * evaluation.map:.2f} %  ({evaluation.rule})"


def _plot_class_curve(axes: Axes, x: Any, y: Any, label: str, classes: int) -> None:
    """Draw the line of a class; matplotlib's first colour is too similar to that of the bold line."""
    if classes > _MAX_NAMED:
        axes.plot(x, y, color=GREY, alpha=max(0.16, 4 / classes), linewidth=0.8)
    else:
        number = 1 + len(axes.lines)
        axes.plot(x, y, linewidth=1.3, label=plain_text(label), color=f"C{number}" if number < 10 else INK)


def _format_axes(axes: Axes, x: str, y: str, classes: int) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    style_axes(axes, x, y)
    if classes > _MAX_NAMED:
        axes.plot([], [], color=GREY, alpha=0.5, linewidth=0.8, label=f"each of {classes} classes")
    if axes.get_legend_handles_labels()[0]:
        # Curves fill the axes: the legend is to the right if it names each class, else next to the title.
        beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.02)}
        above: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 1.04), "ncols": 3}
        axes.legend(**(beside if classes <= _MAX_NAMED else above), edgecolor="none", fontsize=9)
