"""Resize images to a network's input with Darknet's arithmetic.

Whether boxes agree with Darknet's depends on the resizing. Darknet's (``image.c resize_image``) is bilinear with
aligned corners, columns before rows, in float32; no common library has it as its default.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..boxes import letterbox_size
from ..errors import DataError
from .limits import MAX_PIXELS
from .reading import ImageArray


def to_tensor(image: ImageArray) -> Tensor:
    """Convert an image, uint8 [height, width, channels], to a tensor, uint8 [channels, height, width]."""
    return torch.from_numpy(np.require(image, requirements=("C", "W"))).permute(2, 0, 1)


def prepare_input(image: ImageArray, size: tuple[int, int], letterbox: bool = False) -> Tensor:
    """Resize an image to a detector's input.

    Args:
        image: uint8 [H, W, channels].
        size: width and height of the network's input.
        letterbox: keep the aspect ratio and pad with grey, instead of stretching.

    Returns:
        float32 [channels, height, width], 0..1.
    """
    fit = letterbox_image if letterbox else resize
    return fit(to_tensor(image), *size)


def resize(image: Tensor, width: int, height: int) -> Tensor:
    """Resize an image as ``resize_image`` does, bit for bit.

    Like Darknet's, the last row can be black: where ``(height - 1) * ((H - 1) / (height - 1))`` rounds below ``H - 1``
    in float32 (480 to 704 or 800 rows, 720 to 544, ...), the row below it, which has nearly all of the weight, is not
    added. To a single row, where Darknet crashes, this returns the last row, as Darknet does for a single column.

    Args:
        image: [channels, H, W], float32, or uint8 that is read as v / 255.
        width: columns of the result.
        height: rows of the result.

    Returns:
        float32 [channels, height, width].

    Raises:
        DataError: a side is 0, or the result has more than 2^27 pixels.
    """
    channels, rows, columns = image.shape
    if min(channels, rows, columns, width, height) < 1:
        raise DataError(f"cannot resize an image of {columns}x{rows} to {width}x{height}")
    if (columns, rows) == (width, height):
        return _to_float(image).clone(memory_format=torch.contiguous_format)
    if width * height > MAX_PIXELS:
        raise DataError(f"an image of {columns}x{rows} is too thin: it would be resized to {width}x{height}")
    left, right, dx = _neighbours(columns, width, image.device)
    upper, lower, dy = _neighbours(rows, height, image.device)
    if rows > 2 * height:  # copy the rows that are read; a decoded image has each in one piece, with all channels
        image = image.permute(1, 2, 0).index_select(0, torch.cat((upper, lower))).permute(2, 0, 1)
        rows = 2 * height
        upper, lower = torch.arange(rows, device=image.device).split(height)
    # Gather columns before the conversion to float: a network's input has far fewer than a photograph.
    part = _to_float(image.gather(2, left.expand(channels, rows, width))).mul_(1 - dx)
    part += _to_float(image.gather(2, right.expand(channels, rows, width))).mul_(dx)
    part[:, :, slice(-1 if columns > 1 else 0, None)] = _to_float(image[:, :, -1:])
    out = part.index_select(1, upper).mul_((1 - dy)[:, None])
    out[:, :-1] += part.index_select(1, lower[:-1]).mul_(dy[:-1, None])
    return out


def _neighbours(size: int, target: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Source indices on both sides of each of ``target`` samples, and the weight of the second, 0..1."""
    if target == 1:
        last = torch.full((1,), size - 1, device=device)
        return last, last, torch.zeros(1, device=device)
    scale = torch.tensor(size - 1, dtype=torch.float32, device=device) / (target - 1)
    position = torch.arange(target, dtype=torch.float32, device=device) * scale
    low = position.long()
    return low, (low + 1).clamp(max=size - 1), position - low


def _to_float(values: Tensor) -> Tensor:
    """uint8 0..255 as float32 0..1; floats as they are."""
    if values.dtype != torch.uint8:
        return values
    return values.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def letterboxed_size(image: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """``boxes.letterbox_size``. Raises DataError for an image so thin that a side would be resized to 0."""
    inner = letterbox_size(image, size)
    if min(inner) < 1:
        (width, height), (columns, rows) = image, size
        raise DataError(f"an image of {width}x{height} is too thin to be letterboxed into {columns}x{rows}")
    return inner


def letterbox_image(image: Tensor, width: int, height: int) -> Tensor:
    """Resize an image with its aspect ratio kept, centred on grey (0.5), as ``letterbox_image`` does.

    ``boxes.undo_letterbox`` maps boxes back to the image.

    Args:
        image: [channels, H, W], float32 in 0..1 or uint8.
        width: columns of the result.
        height: rows of the result.

    Returns:
        float32 [channels, height, width].

    Raises:
        DataError: the image is so thin that a side would be resized to 0.
    """
    rows, columns = image.shape[1:]
    inner_width, inner_height = letterboxed_size((columns, rows), (width, height))
    canvas = torch.full((image.shape[0], height, width), 0.5, device=image.device)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    canvas[:, top : top + inner_height, left : left + inner_width] = resize(image, inner_width, inner_height)
    return canvas


def centre_crop(image: Tensor, width: int, height: int) -> Tensor:
    """Resize the short side of an image to ``width`` and crop the centre: a classifier's input.

    As ``classifier predict`` of AlexeyAB's Darknet (``resize_min``, ``crop_image``); pjreddie's letterboxes instead.
    If ``height`` is more than the resized image has, the edge rows are repeated.

    Args:
        image: [channels, H, W], float32 in 0..1 or uint8.
        width: columns of the result.
        height: rows of the result.

    Returns:
        float32 [channels, height, width].
    """
    rows, columns = image.shape[1:]
    if columns < rows:
        resized = resize(image, width, rows * width // columns)
    else:
        resized = resize(image, columns * width // rows, width)
    y = torch.arange(height, device=image.device) + int((resized.shape[1] - height) / 2)
    x = torch.arange(width, device=image.device) + int((resized.shape[2] - width) / 2)
    cropped = resized.index_select(1, y.clamp(0, resized.shape[1] - 1))
    return cropped.index_select(2, x.clamp(0, resized.shape[2] - 1))
