"""What can be asked of an image file without decoding all of it: its size, its orientation, a small grey copy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import DataError
from .limits import MAX_PIXELS
from .reading import DECODING_ERRORS, check_size, exif_orientation, open_image, read_image

GreyImage = npt.NDArray[np.float32]  # [height, width], 0..255


def read_orientation(path: str) -> int:
    """Return the EXIF orientation that ``read_image`` ignores without ``exif``, 1..8, without decoding the image.

    It is 1 (upright) if the image has none, or if the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            image = open_image(file)
            # Pillow turns a TIFF itself; PngImageFile.getexif would decode the image.
            return 1 if image.format == "TIFF" else exif_orientation(Image.Image.getexif(image))
    except (*DECODING_ERRORS, DataError):
        return 1


def read_size(path: str) -> tuple[int, int]:
    """Return width and height in pixels of the image that ``read_image`` reads, from the header of the file.

    Raises:
        DataError: the file cannot be read, or is not an image.
    """
    if _is_array(path):
        height, width, _ = read_image(path, None).shape
        return width, height
    with _open_file(path) as image:
        return image.size


def read_grey(path: str, side: int, max_pixels: int = MAX_PIXELS) -> GreyImage:
    """Return an image in grey, stretched to ``side`` x ``side`` pixels. A JPEG is decoded at a fraction of its size.

    Raises:
        DataError: the image cannot be read.
    """
    if not _is_array(path):
        with _open_file(path) as image:
            check_size(image.size, max_pixels)
            image.draft("L", (4 * side, 4 * side))
            if not image.mode.startswith(("I", "F")):  # 16 bits and more, which Pillow would clip
                return _shrink(image.convert("L"), side)
    pixels = read_image(path, None, max_pixels=max_pixels)
    if pixels.shape[2] in (3, 4):
        return _shrink(Image.fromarray(pixels[:, :, :3]).convert("L"), side)
    return _shrink(Image.fromarray(pixels.mean(axis=2).astype(np.uint8)), side)


def _is_array(path: str) -> bool:
    return path.lower().endswith(".npy")


def _shrink(image: Image.Image, side: int) -> GreyImage:
    return np.asarray(image.resize((side, side), Image.Resampling.BOX), np.float32)


@contextlib.contextmanager
def _open_file(path: str) -> Iterator[Image.Image]:
    """Open an image; whatever fails in the block is a DataError with the path."""
    try:
        with open(path, "rb") as file:
            yield open_image(file)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except DECODING_ERRORS as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or f'broken image ({error})'}") from error
