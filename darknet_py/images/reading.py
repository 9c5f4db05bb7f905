"""Images in: read them, and bring them to a network's input with Darknet's own arithmetic.

An image at rest is an array [height, width, channels] of uint8, RGB or grey; on its way into a network
it is a tensor [channels, height, width] of float32 in 0..1. Pixels are as the file stores them: like
Darknet's own decoder (stb_image) this ignores an orientation in EXIF, drops alpha without blending,
and takes the upper byte of 16 bits.

Resizing decides whether boxes agree with Darknet's. Its rule (``image.c resize_image``) is bilinear with
aligned corners, columns first, in float32; no common library's default does that.
"""

from __future__ import annotations

import os
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageSequence, UnidentifiedImageError
from torch import Tensor

from ..boxes import letterbox_size
from ..errors import DataError

ImageArray = npt.NDArray[np.uint8]
ImageSource = str | os.PathLike[str] | Image.Image | npt.NDArray[Any]

_GREY = np.array([77, 150, 29], dtype=np.uint16)  # stb_image's weights, in 256ths
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)
_SPREAD = "save it as .npy [height, width, channels] or as a TIFF with a grey page per channel"


def load(source: ImageSource, channels: int = 3) -> ImageArray:
    """Read an image: [height, width, channels] of uint8.

    ``source``: a path (any format of Pillow, or .npy), a PIL image, or an array [height, width] or
    [height, width, channels] of uint8 or uint16, in RGB order. Grey becomes three equal channels and
    colour becomes grey where ``channels`` asks for it; other numbers of channels must match. A TIFF with
    as many grey pages as ``channels`` is read as one image. Raises DataError.
    """
    name, array = "image", source
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        array = _read(name, channels)
    elif isinstance(source, Image.Image):
        name = getattr(source, "filename", "") or name
        try:
            array = _pixels(source, channels)
        except _BROKEN as error:
            raise DataError(f"{name}: broken image ({error})") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"expected a path, a PIL image or an array for an image, got {type(source).__name__}")
    try:
        return _fit_channels(_bytes(array), channels)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _read(name: str, channels: int) -> npt.NDArray[Any]:
    try:
        if os.path.getsize(name) == 0:
            raise DataError("empty file, expected an image")
        if name.lower().endswith(".npy"):
            array: npt.NDArray[Any] = np.load(name, allow_pickle=False)
            return array
        with Image.open(name) as image:
            return _pixels(image, channels)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not an image in a format that Pillow reads") from error
    except _BROKEN as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else f"broken image ({error})"
        raise DataError(f"{name}: {reason}") from error


def _pixels(image: Image.Image, channels: int) -> npt.NDArray[Any]:
    """The values of a PIL image: grey, RGB or RGBA, 8 or 16 bits; or its grey pages as channels."""
    grey = image.mode == "L" or image.mode.startswith("I;16")
    if grey and channels not in (1, 3) and getattr(image, "n_frames", 1) == channels:
        return np.stack([np.array(page) for page in ImageSequence.all_frames(image)], axis=-1)
    if image.mode == "I":  # Pillow's name for 32 bits, and for the 16 bits of a PGM
        values = np.array(image)
        if values.size and not 0 <= values.min() <= values.max() <= 65535:
            raise DataError("expected an image of 8 or 16 bits, found 32")
        return values.astype(np.uint16)
    if image.mode.startswith("I;16"):
        return np.array(image).astype(np.uint16)
    if image.mode in ("1", "L", "RGB", "RGBA", "F"):
        return np.array(image.convert("L") if image.mode == "1" else image)
    if image.mode in ("P", "PA", "LA", "La", "RGBa"):  # by way of RGBA: transparency must not warn or blend
        return np.array(image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _bytes(array: npt.NDArray[Any]) -> ImageArray:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or not array.size:
        raise DataError(f"expected an image [height, width, channels], got the shape {list(array.shape)}")
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype != np.uint8:
        raise DataError(f"expected pixels of uint8 (0..255) or uint16, got {array.dtype}: scale and convert them")
    return array


def _fit_channels(array: ImageArray, channels: int) -> ImageArray:
    found = array.shape[2]
    if found == channels:
        return array
    if found not in (1, 3, 4) or channels not in (1, 3):
        hint = f"; for {channels} channels {_SPREAD}" if channels not in (1, 3) else ""
        raise DataError(f"the network reads {channels} channels, the image has {found}{hint}")
    if found == 1:
        return np.repeat(array, 3, axis=2)
    colour = array[:, :, :3]
    return colour if channels == 3 else ((colour @ _GREY) >> 8).astype(np.uint8)[:, :, None]


def resize(image: Tensor, width: int, height: int) -> Tensor:
    """Scale [C, H, W] to [C, height, width] as ``resize_image`` does, to the last bit.

    ``image``: float32, or uint8 that is read as v / 255. Faithful in its defect too: where
    ``(height - 1) * ((H - 1) / (height - 1))`` rounds below ``H - 1`` in float32 (480 to 704 or 800 rows,
    720 to 544, ...), the last row keeps only the vanishing share of the row above it and is black.
    To one row, where Darknet crashes, it gives the last row, as Darknet does with one column.
    """
    channels, rows, columns = image.shape
    if min(channels, rows, columns, width, height) < 1:
        raise DataError(f"cannot resize an image of {columns}x{rows} to {width}x{height}")
    if (columns, rows) == (width, height):
        return _unit(image).clone(memory_format=torch.contiguous_format)
    left, right, dx = _neighbours(columns, width, image.device)
    upper, lower, dy = _neighbours(rows, height, image.device)
    # Columns are picked before anything is converted or blended: of a photograph they are a fraction.
    part = _unit(image.gather(2, left.expand(channels, rows, width))).mul_(1 - dx)
    part += _unit(image.gather(2, right.expand(channels, rows, width))).mul_(dx)
    part[:, :, slice(-1 if columns > 1 else 0, None)] = _unit(image[:, :, -1:])
    out = part.index_select(1, upper).mul_((1 - dy)[:, None])
    out[:, :-1] += part.index_select(1, lower[:-1]).mul_(dy[:-1, None])
    return out


def _neighbours(size: int, target: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each of ``target`` places: the source places on both sides, and how far it lies between."""
    if target == 1:
        last = torch.full((1,), size - 1, device=device)
        return last, last, torch.zeros(1, device=device)
    scale = torch.tensor(size - 1, dtype=torch.float32, device=device) / (target - 1)
    at = torch.arange(target, dtype=torch.float32, device=device) * scale
    low = at.long()
    return low, (low + 1).clamp(max=size - 1), at - low


def _unit(values: Tensor) -> Tensor:
    """``values`` in 0..1."""
    if values.dtype != torch.uint8:
        return values
    return values.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def letterbox(image: Tensor, width: int, height: int) -> Tensor:
    """Scale [C, H, W] to fit, centred on grey (0.5) of [C, height, width] (``letterbox_image``).

    ``boxes.undo_letterbox`` brings boxes back. Raises DataError for an image so thin that nothing is left.
    """
    rows, columns = image.shape[1:]
    inner_width, inner_height = letterbox_size((columns, rows), (width, height))
    if min(inner_width, inner_height) < 1:
        raise DataError(f"an image of {columns}x{rows} is too thin to be letterboxed into {width}x{height}")
    canvas = torch.full((image.shape[0], height, width), 0.5, device=image.device)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    canvas[:, top : top + inner_height, left : left + inner_width] = resize(image, inner_width, inner_height)
    return canvas


def centre_crop(image: Tensor, width: int, height: int) -> Tensor:
    """The middle [C, height, width] of [C, H, W] scaled to a short side of ``width``: a classifier's view.

    As ``classifier predict`` of AlexeyAB (``resize_min``, ``crop_image``); pjreddie's letterboxes. Beyond
    the edge, where ``height`` is more than there is, the edge goes on.
    """
    rows, columns = image.shape[1:]
    if columns < rows:
        scaled = resize(image, width, rows * width // columns)
    else:
        scaled = resize(image, columns * width // rows, width)
    down = torch.arange(height, device=image.device) + int((scaled.shape[1] - height) / 2)
    across = torch.arange(width, device=image.device) + int((scaled.shape[2] - width) / 2)
    scaled = scaled.index_select(1, down.clamp(0, scaled.shape[1] - 1))
    return scaled.index_select(2, across.clamp(0, scaled.shape[2] - 1))


_FIT = (resize, letterbox)


def prepare(image: ImageArray, size: tuple[int, int], letterbox: bool = False) -> Tensor:
    """An image [H, W, C] of uint8 as a detector's input: [C, height, width] of float32 in 0..1.

    ``size``: the network's width and height. ``letterbox``: keep the aspect, else stretch.
    """
    return _FIT[letterbox](planes(image), *size)


def planes(image: ImageArray) -> Tensor:
    """An image [H, W, C] as a tensor [C, H, W] of uint8, which the functions above take."""
    return torch.from_numpy(np.require(image, requirements=("C", "W"))).permute(2, 0, 1)
