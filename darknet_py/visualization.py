"""Sheets of a network's filters, and of its feature maps for an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor, nn

from .backbones import last_of_each_resolution
from .errors import DarknetError
from .figures import require_colour_map
from .images.fonts import default_font
from .images.reading import ImageArray
from .images.resizing import prepare_input
from .layers._convolution import Convolution
from .network import Network, evaluating, unwrap
from .postprocess import uses_letterbox

Order = Literal["activation", "index"]

_MAX_WIDTH = 1600  # pixels of a sheet of filters
_MAX_FACTOR = 16  # pixels of a weight
_FILTER_COLUMNS = 8  # of filters in colour
_MAP_COLUMNS = 8
_MAP_SIDE = 160  # pixels, of a feature map
_GAP, _CAPTION, _TITLE = 6, 16, 34
_FONT, _TITLE_FONT = 11, 14
_PAPER, _INK, _GREY, _NOT_FINITE = (255, 255, 255), (36, 41, 47), (110, 119, 129), (0, 160, 120)
_PERCENTILES = (1, 99)  # of a layer's values, black and the brightest colour


def visualize(
    network: nn.Module,
    image: ImageArray | None = None,
    layers: Sequence[int] | None = None,
    *,
    max_channels: int = 64,
    order: Order = "activation",
    letterbox: bool | None = None,
) -> dict[int, ImageArray]:
    """Draw the filters of convolutions, or with an image the feature maps of layers, one sheet for each layer.

    Filters are drawn on one scale, from the lowest weight in black to the highest in white: those of one or three
    channels side by side, of others each row has the channels of one filter, as in Darknet's ``visualize``. Feature
    maps are drawn on one scale too, from the 1st to the 99th percentile of the layer's values; NaN and Inf are green.

    Args:
        network: the network; feature maps are computed in eval mode, and the network is left as it was, but for the
            state of recurrent layers.
        image: uint8 [height, width, channels]; None: draw filters.
        layers: numbers of layers, negative ones from the end. None: for filters the first convolution, for feature maps
            the last layer of each resolution up to the heads.
        max_channels: most feature maps or filters of a layer, and most channels of a filter.
        order: of the feature maps: the highest mean activation first, or by number; then the first ones are drawn.
        letterbox: keep the image's aspect ratio; None: as the network does.

    Returns:
        For each layer a sheet, uint8 [height, width, 3], RGB.

    Raises:
        DarknetError: there is no such layer, it is not a convolution and there is no image, or matplotlib, which has
            the colours of feature maps, is not installed.
    """
    net = unwrap(network)
    if max_channels < 1:
        raise DarknetError(f"max_channels: expected 1 or more, got {max_channels}")
    if image is None:
        return {number: _filter_sheet(net, number, max_channels) for number in _choose(net, layers, _first_convolution)}
    numbers = _choose(net, layers, last_of_each_resolution)
    colours = require_colour_map()
    size = (net.shape.width, net.shape.height)
    x = prepare_input(image, size, uses_letterbox(net, letterbox))[None].to(next(net.parameters()))
    with evaluating(net), torch.inference_mode():
        maps = net.features(x, numbers)
    return {
        number: _map_sheet(net, number, features[0].float().cpu(), colours, max_channels, order)
        for number, features in zip(numbers, maps, strict=True)
    }


def convolutions(network: Network) -> list[int]:
    """Return the numbers of the convolutions with filters of their own."""
    return [number for number, layer in enumerate(network) if isinstance(layer, Convolution) and not layer.owner]


def _first_convolution(network: Network) -> list[int]:
    return convolutions(network)[:1]


def _choose(network: Network, layers: Sequence[int] | None, default: Callable[[Network], list[int]]) -> list[int]:
    """The numbers of the chosen layers, each once."""
    count = len(network.layers)
    numbers = default(network) if layers is None else list(layers)
    if not numbers:
        raise DarknetError(f"{network.config.path}: expected numbers of layers: none can be chosen for this network")
    wrong = [number for number in numbers if not -count <= number < count]
    if wrong:
        raise DarknetError(f"layers: expected numbers in 0..{count - 1}, got {wrong[0]}")
    return list(dict.fromkeys(number % count for number in numbers))


def _filter_sheet(network: Network, number: int, most: int) -> ImageArray:
    layer = network[number]
    if not isinstance(layer, Convolution) or layer.owner:
        raise DarknetError(
            f"{_name(network, number)}: expected a convolution with filters of its own: {convolutions(network)}"
        )
    weights = layer.weights.detach().float().cpu().numpy()
    filters, channels, height, width = weights.shape
    is_tile = channels in (1, 3)  # a whole filter; else a tile is one channel of it
    drawn = weights[:most] if is_tile else weights[:most, :most]
    finite = drawn[np.isfinite(drawn)]
    low, high = float(finite.min(initial=0)), float(finite.max(initial=0))
    values = np.nan_to_num(drawn - low, nan=0) * (255 / max(high - low, 1e-30))
    pixels = values.clip(0, 255).round().astype(np.uint8)
    columns = _FILTER_COLUMNS if is_tile else pixels.shape[1]
    tiles = pixels.transpose(0, 2, 3, 1) if channels == 3 else pixels.reshape(-1, height, width, 1).repeat(3, axis=3)
    factor = max(1, min(_MAX_FACTOR, _MAX_WIDTH // (columns * width)))
    tiles = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    stride_y, stride_x = layer.strides
    stride = f"{stride_x}" if stride_x == stride_y else f"{stride_x}x{stride_y}"
    shown = _shown(len(drawn), filters) if is_tile else _shown(len(drawn), filters, drawn.shape[1], channels)
    title = f"{_name(network, number)}: {filters} filters {width}x{height} of {channels} channels, stride {stride}"
    return _sheet(tiles, columns, title, f"weights {low:.3g} to {high:.3g}{shown}", gap=max(1, factor // 4))


def _map_sheet(
    network: Network,
    number: int,
    features: Tensor,
    colours: Callable[[npt.NDArray[np.floating]], npt.NDArray[np.uint8]],
    most: int,
    order: Order,
) -> ImageArray:
    maps = features if features.dim() == 3 else features.reshape(-1, 1, 1)
    finite = maps.isfinite()
    clean = torch.where(finite, maps, 0)
    means = clean.mean(dim=(1, 2))
    chosen = (means.argsort(descending=True, stable=True) if order == "activation" else torch.arange(len(maps)))[:most]
    known = maps[finite].numpy()
    low, high = np.percentile(known, _PERCENTILES).tolist() if known.size else (0.0, 0.0)
    scaled = (_to_tile(clean[chosen]) - low) / max(high - low, 1e-12)
    tiles = colours(scaled.clamp(0, 1).numpy())
    tiles[~_to_tile(finite[chosen].float()).bool().numpy()] = _NOT_FINITE
    channels, height, width = maps.shape
    stride = network.shape.height // height if height > 1 else 0
    title = f"{_name(network, number)}: {channels} x {width}x{height}" + (f", stride {stride}" if stride else "")
    broken = int((~finite).sum())
    below = f"colours {low:.3g} to {high:.3g}" + _shown(len(chosen), channels)
    below += f", {broken} values are NaN or Inf" if broken else ""
    captions = [f"{channel}: {means[channel]:.3g}" for channel in chosen.tolist()]
    return _sheet(tiles, _MAP_COLUMNS, title, f"channel: mean activation; {below}", captions=captions)


def _to_tile(maps: Tensor) -> Tensor:
    """Enlarge maps [n, height, width] by a whole factor to about ``_MAP_SIDE`` pixels, or reduce larger ones."""
    side = max(maps.shape[1:])
    if side > _MAP_SIDE:
        height, width = (max(1, round(length * _MAP_SIDE / side)) for length in maps.shape[1:])
        return F.interpolate(maps[None], (height, width), mode="area")[0]
    return maps.repeat_interleave(_MAP_SIDE // side, dim=1).repeat_interleave(_MAP_SIDE // side, dim=2)


def _name(network: Network, number: int) -> str:
    return f"layer {number} [{network.config.sections[1 + number].name}]"


def _shown(filters: int, all_filters: int, channels: int = 0, all_channels: int = 0) -> str:
    """What of a layer is drawn; empty if it is all."""
    parts = [f"{filters} of {all_filters}"] if filters < all_filters else []
    parts += [f"{channels} of {all_channels} channels"] if channels < all_channels else []
    return f", {' and '.join(parts)} drawn" if parts else ""


def _sheet(
    tiles: npt.NDArray[np.uint8],
    columns: int,
    title: str,
    below: str,
    *,
    captions: Sequence[str] = (),
    gap: int = _GAP,
) -> ImageArray:
    """Lay out tiles [n, height, width, 3] in rows, with two lines of text above and a caption below each tile."""
    height, width = tiles.shape[1:3]
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    step_x, step_y = width + gap, height + gap + (_CAPTION if captions else 0)
    fonts = default_font(_TITLE_FONT), default_font(_FONT)
    lines = [(title, fonts[0], _INK), (below, fonts[1], _GREY)]
    text_width = max(int(font.getlength(text)) for text, font, _ in lines)
    canvas = np.full(
        (2 * _GAP + _TITLE + rows * step_y, 2 * _GAP + max(columns * step_x, text_width), 3), _PAPER, np.uint8
    )
    for index, tile in enumerate(tiles):
        top, left = _GAP + _TITLE + index // columns * step_y, _GAP + index % columns * step_x
        canvas[top : top + height, left : left + width] = tile
    sheet = Image.fromarray(canvas)
    pen = ImageDraw.Draw(sheet)
    for line, (text, font, colour) in enumerate(lines):
        pen.text((_GAP, _GAP + line * _TITLE // 2), text, fill=colour, font=font)
    for index, caption in enumerate(captions):
        at = (_GAP + index % columns * step_x, _GAP + _TITLE + index // columns * step_y + height + 1)
        pen.text(at, caption, fill=_GREY, font=fonts[1])
    return np.asarray(sheet)
