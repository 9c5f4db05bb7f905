"""What all figures have in common: matplotlib without a display, the sizes and colours, the PNG."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ._typing import StrPath
from .errors import DarknetError
from .files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, LIGHT, BOLD = "#24292f", "#6e7781", "#d0d7de", "#0b5cad"
HEAT_COLOURS = "inferno"  # matplotlib's name


def import_figure_class() -> type[Figure]:
    """Import matplotlib's Figure, which draws without a display. Raises ImportError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'darknet-torch[plots]'") from error
    return Figure


def require_figure_class() -> type[Figure]:
    """``import_figure_class`` for what cannot go on without matplotlib: raises DarknetError."""
    try:
        return import_figure_class()
    except ImportError as error:
        raise DarknetError(str(error)) from error


def require_colour_map() -> Callable[[npt.NDArray[np.floating]], npt.NDArray[np.uint8]]:
    """Return a function from values [...] in 0..1 to colours from black to yellow, RGB, uint8 [..., 3].

    Raises DarknetError without matplotlib.
    """
    require_figure_class()
    from matplotlib import colormaps

    table = (255 * colormaps[HEAT_COLOURS](np.arange(256))[:, :3]).round().astype(np.uint8)
    return lambda values: table[(255 * values).round().astype(np.uint8)]


def figure_format(path: StrPath, formats: Sequence[str], kind: str) -> str:
    """Return the suffix of ``path``, without its dot. Raises DarknetError if it is none of ``formats``."""
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in formats:
        raise DarknetError(f"{path}: expected {kind} as {', '.join(formats)}, got {suffix or 'no suffix'}")
    return suffix[1:]


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


def write_figure(figure: Figure, path: StrPath, *, format: str, **options: Any) -> None:
    """Write a figure with the options of ``savefig``. Raises DataError if the file cannot be written."""
    content = io.BytesIO()
    figure.savefig(content, format=format, **options)
    with atomic_write(path) as file:
        file.write(content.getvalue())


def write_png(figure: Figure, path: StrPath) -> None:
    """Write what ``to_png`` returns. Raises DataError if the file cannot be written."""
    content = to_png(figure)
    with atomic_write(path) as file:
        file.write(content)


def to_png(figure: Figure) -> bytes:
    """Encode as PNG with a palette of 256 colours, a third of the size that matplotlib writes."""
    rendered = io.BytesIO()
    content = io.BytesIO()
    figure.savefig(rendered, format="png")
    image = Image.open(rendered, formats=("PNG",)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    image.save(content, format="PNG", optimize=True)
    return content.getvalue()
