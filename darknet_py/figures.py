"""What all figures have in common: matplotlib without a display, the sizes and colours, the PNG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, LIGHT, BOLD = "#24292f", "#6e7781", "#d0d7de", "#0b5cad"


def import_figure_class() -> type[Figure]:
    """Import matplotlib's Figure, which draws without a display. Raises ImportError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'darknet-torch[plots]'") from error
    return Figure


def create_figure(title: str, headline: str) -> tuple[Figure, Axes]:
    """Return a figure with a title and a smaller line below it. Raises ImportError without matplotlib."""
    figure = import_figure_class()(figsize=(8.4, 5.6), dpi=130, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    draw_title(axes, title, headline)
    return figure, axes


def draw_title(axes: Axes, title: str, below: str) -> None:
    """Draw a title and a smaller line below it."""
    axes.set_title(f"{title}\n", loc="left", fontsize=14, weight="bold", color=INK)
    axes.annotate(below, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", color=GREY, size=8.5)


def style_axes(axes: Axes, x: str, y: str) -> None:
    """Name the axes, draw a grid, and leave out the lines above and to the right."""
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.grid(color=LIGHT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=GREY, length=3)


def plain_text(text: str) -> str:
    """A name as matplotlib draws it: text between two ``$`` would be a formula."""
    return text.replace("$", r"\$")


def to_png(figure: Figure) -> bytes:
    """Encode as PNG with a palette of 256 colours, a third of the size that matplotlib writes."""
    rendered = io.BytesIO()
    content = io.BytesIO()
    figure.savefig(rendered, format="png")
    image = Image.open(rendered, formats=("PNG",)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    image.save(content, format="PNG", optimize=True)
    return content.getvalue()
