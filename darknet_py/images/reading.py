"""Read images from files, PIL images and arrays.

An image is an array uint8 [height, width, channels], RGB or grey. Pixels are as the file stores them: like Darknet's
decoder (stb_image) this ignores the EXIF orientation, drops the alpha channel without blending, and keeps the upper
byte of 16 bits. ``images.resizing`` brings an image to a network's input.
"""

from __future__ import annotations

import os
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageSequence, UnidentifiedImageError

from ..errors import DataError

ImageArray = npt.NDArray[np.uint8]  # [height, width, channels]
ImageSource = str | os.PathLike[str] | Image.Image | npt.NDArray[Any]

_GREY_WEIGHTS = np.array([77, 150, 29], dtype=np.uint16)  # stb_image's, in 256ths
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)
_MULTICHANNEL_HINT = "save it as .npy [height, width, channels] or as a TIFF with a grey page per channel"


def read_image(source: ImageSource, channels: int = 3) -> ImageArray:
    """Read an image.

    Args:
        source: a path (any format of Pillow, or .npy), a PIL image, or an array [height, width] or
            [height, width, channels] of uint8 or uint16, in RGB order.
        channels: channels of the result. Grey is repeated to three channels, colour is converted to one; another
            number must match the image's. A TIFF with as many grey pages is read as one image.

    Returns:
        uint8 [height, width, channels].

    Raises:
        DataError: the image cannot be read, or its channels do not match.
    """
    name = "image"
    array = source
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        array = _read_file(name, channels)
    elif isinstance(source, Image.Image):
        name = getattr(source, "filename", "") or name
        try:
            array = _to_array(source, channels)
        except _DECODING_ERRORS as error:
            raise DataError(f"{name}: broken image ({error})") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"expected a path, a PIL image or an array for an image, got {type(source).__name__}")
    try:
        return _match_channels(_to_uint8(array), channels)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _read_file(name: str, channels: int) -> npt.NDArray[Any]:
    try:
        if os.path.getsize(name) == 0:
            raise DataError("empty file, expected an image")
        if name.lower().endswith(".npy"):
            array: npt.NDArray[Any] = np.load(name, allow_pickle=False)
            return array
        with Image.open(name) as image:
            return _to_array(image, channels)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not an image in a format that Pillow reads") from error
    except _DECODING_ERRORS as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else f"broken image ({error})"
        raise DataError(f"{name}: {reason}") from error


def _to_array(image: Image.Image, channels: int) -> npt.NDArray[Any]:
    """The values of a PIL image: grey, RGB or RGBA, 8 or 16 bits; or its grey pages as channels."""
    is_grey = image.mode == "L" or image.mode.startswith("I;16")
    if is_grey and channels not in (1, 3) and getattr(image, "n_frames", 1) == channels:
        return np.stack([np.array(page) for page in ImageSequence.all_frames(image)], axis=-1)
    if image.mode == "I":  # Pillow's mode for 32 bits, and for the 16 bits of a PGM
        values = np.array(image)
        if values.size and not 0 <= values.min() <= values.max() <= 65535:
            raise DataError("expected an image of 8 or 16 bits, found 32")
        return values.astype(np.uint16)
    if image.mode.startswith("I;16"):
        return np.array(image).astype(np.uint16)
    if image.mode in ("1", "L", "RGB", "RGBA", "F"):
        return np.array(image.convert("L") if image.mode == "1" else image)
    if image.mode in ("P", "PA", "LA", "La", "RGBa"):  # RGBA keeps Pillow from warning or blending
        return np.array(image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _to_uint8(array: npt.NDArray[Any]) -> ImageArray:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or not array.size:
        raise DataError(f"expected an image [height, width, channels], got the shape {list(array.shape)}")
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype != np.uint8:
        raise DataError(f"expected pixels of uint8 (0..255) or uint16, got {array.dtype}: scale and convert them")
    return array


def _match_channels(array: ImageArray, channels: int) -> ImageArray:
    image_channels = array.shape[2]
    if image_channels == channels:
        return array
    if image_channels not in (1, 3, 4) or channels not in (1, 3):
        hint = f"; for {channels} channels {_MULTICHANNEL_HINT}" if channels not in (1, 3) else ""
        raise DataError(f"expected an image of {channels} channels, as the network reads, found {image_channels}{hint}")
    if image_channels == 1:
        return np.repeat(array, 3, axis=2)
    colour = array[:, :, :3]
    return colour if channels == 3 else ((colour @ _GREY_WEIGHTS) >> 8).astype(np.uint8)[:, :, None]
